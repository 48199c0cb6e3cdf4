//! Command bundles: which commands an agent may run under sudo
