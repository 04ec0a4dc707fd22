//! `/stats?format=json`.

use std::io::{self, Write};

use super::{Query, by_name, full_name, numbers, quantiles};
use crate::metrics::histogram::Histogram;
use crate::metrics::registry::Registry;
use crate::metrics::stat::Kind;

/// Writes `{"stats":[{"name":…,"value":…},…,{"histograms":{…}}]}` as Envoy does.
///
/// # Errors
/// Those of `out`.
pub fn json(registry: &Registry, query: &Query, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"stats\":[")?;
    let mut comma = Comma::default();
    if query.wants_texts() {
        for (name, value) in registry.texts().iter().filter(|(name, _)| query.names(name)) {
            comma.write(out)?;
            write!(out, "{{\"name\":{},\"value\":{}}}", quote(name)?, quote(value)?)?;
        }
    }
    numbers(registry, query, &mut |name, value| {
        comma.write(out)?;
        write!(out, "{{\"name\":{},\"value\":{}}}", quote(name)?, value)
    })?;
    if query.wants(Kind::Histogram) {
        comma.write(out)?;
        histograms(registry, query, out)?;
    }
    out.write_all(b"]}")
}

fn histograms(registry: &Registry, query: &Query, out: &mut impl Write) -> io::Result<()> {
    let percents = quantiles::ALL.map(|quantile| (quantile * 100.0).to_string()).join(",");
    write!(out, "{{\"histograms\":{{\"supported_quantiles\":[{percents}],\"computed_quantiles\":[")?;
    let mut comma = Comma::default();
    let mut result = Ok(());
    registry.families(|family| {
        let mut name = String::new();
        for scope in &family.scopes {
            for index in by_name(family.defs) {
                let def = &family.defs[index];
                full_name(&mut name, family.prefix, scope.name(), def.name);
                let listed = def.kind == Kind::Histogram && query.lists(scope.as_ref(), index, def);
                if result.is_ok() && listed && query.names(&name) {
                    result = comma.write(out).and_then(|()| one(&name, &scope.histogram(index), out));
                }
            }
        }
    });
    result?;
    out.write_all(b"]}}")
}

fn one(name: &str, histogram: &Histogram, out: &mut impl Write) -> io::Result<()> {
    let values = quantiles::of(histogram).map(|value| match histogram.count() {
        0 => "{\"cumulative\":null,\"interval\":null}".to_owned(),
        _ => format!("{{\"cumulative\":{value},\"interval\":null}}"),
    });
    write!(out, "{{\"name\":{},\"values\":[{}]}}", quote(name)?, values.join(","))
}

fn quote(text: &str) -> io::Result<String> {
    serde_json::to_string(text).map_err(io::Error::from)
}

#[derive(Default)]
struct Comma(bool);

impl Comma {
    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.0, true) { out.write_all(b",") } else { Ok(()) }
    }
}
