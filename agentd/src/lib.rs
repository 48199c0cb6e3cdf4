//! tether-agentd and tether-principals
