//! The local protocol between agentd and the in-host modules
