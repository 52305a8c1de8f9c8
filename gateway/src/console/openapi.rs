//! The OpenAPI document, made from the handlers themselves.

use axum::Json;
use utoipa::OpenApi;

use super::{
    attachment, auth, ban, block, call, callback, casecore, desk, desk_phone, duty, events, floor, guest, handover,
    incident, item, line, measure, message, operator, phone, queue, recording, reward, robot, system, trace, trunk,
    web, work,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Hotline gateway", description = "城市热线网关接口 / the hotline gateway's API"),
    paths(
        auth::sign_in,
        auth::sign_out,
        auth::who,
        ban::list,
        ban::lift,
        block::list,
        block::add,
        block::lift,
        call::list,
        call::live,
        call::show,
        call::events,
        trace::show_trace,
        desk::state,
        desk::answer,
        desk::end,
        desk::hold,
        desk::mute,
        desk::digits,
        desk::invite,
        desk::dismiss,
        desk::consult,
        desk::consult_end,
        desk::consult_join,
        desk::consult_complete,
        desk::transfer,
        desk::transfer_end,
        desk::emergency,
        desk::say_number,
        desk::flag,
        desk::help,
        floor::force_state,
        floor::broadcast,
        floor::alarms,
        guest::supervise,
        guest::leave,
        guest::take,
        guest::force_end,
        guest::move_caller,
        call::reveal,
        web::send_link,
        web::qr_code,
        operator::set_state,
        operator::queues,
        queue::callers,
        queue::pull,
        queue::extend_wrap,
        queue::openings,
        queue::open_by_hand,
        queue::by_the_clock,
        phone::key,
        phone::end_key,
        desk_phone::show,
        desk_phone::set,
        line::up,
        line::down,
        operator::skills,
        operator::set_skills,
        trunk::list,
        item::list,
        item::create,
        item::show,
        incident::list_candidates,
        incident::first,
        incident::merge,
        incident::split,
        incident::announced,
        incident::announce_it,
        incident::announce_end,
        incident::inspection,
        incident::inspection_link,
        reward::show,
        reward::appeal,
        reward::appeal_decide,
        reward::batches,
        reward::batch_make,
        reward::batch_approve,
        reward::export,
        recording::show,
        recording::audio,
        recording::levels,
        recording::pause,
        recording::resume,
        recording::transcript,
        attachment::file,
        attachment::facts,
        callback::list,
        callback::show,
        callback::call,
        work::list,
        work::next,
        work::show,
        work::take,
        work::renew,
        work::release,
        work::transfer,
        work::done,
        events::stream,
        measure::calls,
        measure::care,
        message::list,
        message::show,
        message::reply,
        duty::shifts,
        duty::plan,
        duty::cancel,
        duty::me,
        duty::allow,
        handover::list,
        handover::show,
        handover::give,
        handover::end,
        robot::show,
        casecore::stage,
        casecore::webhook,
        system::healthz,
        system::metrics,
    )
)]
struct Document;

/// `/openapi.json`
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_api_is_described() {
        let document = Document::openapi();
        let routes = concat!(
            include_str!("mod.rs"),
            include_str!("desk.rs"),
            include_str!("floor.rs"),
            include_str!("guest.rs"),
            include_str!("duty.rs"),
            include_str!("handover.rs"),
            include_str!("incident.rs"),
            include_str!("measure.rs"),
            include_str!("reward.rs")
        );
        for line in routes.lines().filter_map(|l| l.trim().strip_prefix(".route(\"")) {
            let path = line.split('"').next().unwrap();
            if path.starts_with("/api/") || path == "/healthz" || path == "/metrics" {
                assert!(document.paths.paths.contains_key(path), "{path} is missing in the document");
            }
        }
    }
}
