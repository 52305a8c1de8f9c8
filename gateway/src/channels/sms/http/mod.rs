//! Aggregators that take texts by HTTP and push what citizens write, each by configuration alone.

mod driver;
mod hook;
mod limits;
mod receive;
mod send;
mod sign;

pub use driver::spawn;
pub(crate) use hook::routes;
