//! The hotline gateway: calls, queue, intake, hand-off, callbacks, console
