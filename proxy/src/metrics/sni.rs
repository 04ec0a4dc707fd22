//! Series per server name.

/// Series per server name.
#[derive(Debug, Default)]
pub struct SniSeries;
