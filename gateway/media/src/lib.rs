//! RTP, G.711, DTMF, prompts, bridging and recording as a deterministic core
