//! One report per connection: metrics and access log, from one [`flow::Flow`].

pub mod flow;
