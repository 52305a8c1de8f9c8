//! SIP as a deterministic state machine: no sockets, no clocks
