//! Which connections and requests are logged (`AccessLogFilter`).

use std::sync::Arc;

use crate::model::matcher::TextMatch;
use crate::model::route::HeaderMatch;

/// Which connections and requests are logged.
#[derive(Clone, Debug)]
pub enum Filter {
    /// A CEL expression over Envoy's attributes; compiled once.
    Cel(Arc<CelFilter>),
    /// `status_code_filter`; 0 where there is no answer.
    StatusCode(Comparison),
    /// `duration_filter`, in milliseconds.
    Duration(Comparison),
    /// `not_health_check_filter`.
    NotHealthCheck,
    /// `traceable_filter`: somebody before us forced the trace.
    Traceable,
    /// `runtime_filter`: a part of all.
    Fraction {
        /// Of so many.
        numerator: u32,
        /// 100, 10,000 or 1,000,000.
        denominator: u32,
        /// By chance; else by the request's ID, the same for all logs of it.
        independent: bool,
    },
    /// `and_filter`.
    And(Box<[Filter]>),
    /// `or_filter`.
    Or(Box<[Filter]>),
    /// `header_filter`, of requests.
    Header(Box<HeaderMatch>),
    /// `response_flag_filter`: short names; none: any flag.
    ResponseFlags(Box<[Box<str>]>),
    /// `grpc_status_filter`.
    GrpcStatus {
        /// Codes.
        statuses: Box<[i32]>,
        /// All but them.
        exclude: bool,
    },
    /// `metadata_filter`, over what filters noted.
    Metadata(Box<MetadataTest>),
    /// `log_type_filter`.
    LogType {
        /// Names of types as `%ACCESS_LOG_TYPE%` has them.
        types: Box<[Box<str>]>,
        /// All but them.
        exclude: bool,
    },
}

/// A compiled CEL expression and its text, by which it is compared.
#[derive(Debug)]
pub struct CelFilter {
    /// Source text.
    pub text: Box<str>,
    /// Compiled form.
    pub program: cel::Program,
}

impl PartialEq for CelFilter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// `ComparisonFilter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How.
    pub op: Op,
    /// With what.
    pub value: u32,
}

/// `ComparisonFilter.Op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Eq,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `!=`
    Ne,
}

impl Comparison {
    /// Whether `value` is as it should be.
    pub fn holds(self, value: u64) -> bool {
        let bound = u64::from(self.value);
        match self.op {
            Op::Eq => value == bound,
            Op::Ge => value >= bound,
            Op::Le => value <= bound,
            Op::Ne => value != bound,
        }
    }
}

/// `MetadataMatcher` over dynamic metadata.
#[derive(Clone, Debug)]
pub struct MetadataTest {
    /// Namespace.
    pub namespace: Box<str>,
    /// The way down; at least one.
    pub path: Box<[Box<str>]>,
    /// How the value must be.
    pub value: ValueTest,
    /// `invert`.
    pub invert: bool,
    /// `match_if_key_not_found`: whether to log where there is no such value.
    pub if_absent: bool,
}

/// `ValueMatcher`.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// JSON null.
    Null,
    /// A number of at least the first and less than the second.
    Range(f64, f64),
    /// A number.
    Number(f64),
    /// A string.
    Text(TextMatch),
    /// A boolean.
    Bool(bool),
    /// There is one, or there is none.
    Present(bool),
    /// A list, one of whose elements is so.
    AnyOf(Box<ValueTest>),
    /// One of them.
    Or(Box<[ValueTest]>),
}
