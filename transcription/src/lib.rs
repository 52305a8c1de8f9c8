//! Speech to text: engines, voice activity, durable jobs, text and fields
