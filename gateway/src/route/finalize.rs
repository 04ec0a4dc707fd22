//! What a match does to the request before it goes upstream, and to the answer before it goes to the client.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use proxy::report::http::HttpFlow;

use super::mutation::HeaderMutations;
use super::table::Levels;
use super::{Action, Match, header, redirect, rewrite};

impl Match {
    /// Mutations of all levels, then host and path, as Envoy's `finalizeRequestHeaders`. Without `keep_original`
    /// (`suppress_envoy_headers`) nobody is told what host and path were.
    pub fn finalize_request(&self, flow: &mut HttpFlow, keep_original: bool) {
        let (Action::Forward(forward), Some(route)) = (self.action(), &self.route) else { return };
        let weighted = self.weighted_levels();
        if let Some(mutations) = weighted.and_then(|levels| levels.request.as_deref()) {
            mutations.apply_request(flow);
        }
        if let Some(host) = self.weighted().and_then(|weighted| weighted.host_rewrite.clone()) {
            flow.request.authority = host;
        }
        self.each_level(|levels| levels.request.as_deref(), |mutations| mutations.apply_request(flow));
        rewrite::host(forward, flow, keep_original);
        let path = forward.path_rewrite.as_deref();
        if let Some(path) = path.and_then(|path| rewrite::path(path, &route.config.matches, flow)) {
            rewrite::set_path(flow, path, keep_original);
        }
    }

    /// Mutations of all levels to `flow.response`, whether it is the upstream's or our own. There are none where TLS is
    /// required.
    pub fn finalize_response(&self, flow: &mut HttpFlow) {
        if self.route.is_none() {
            return;
        }
        if let Some(mutations) = self.weighted_levels().and_then(|levels| levels.response.as_deref()) {
            mutations.apply_response(flow);
        }
        self.each_level(|levels| levels.response.as_deref(), |mutations| mutations.apply_response(flow));
    }

    /// The same for an answer of our own, which formats do not see yet (`%RESPONSE_CODE%` is 0).
    pub fn finalize_local(&self, headers: &mut HeaderMap, flow: &HttpFlow) {
        if self.route.is_none() {
            return;
        }
        if let Some(mutations) = self.weighted_levels().and_then(|levels| levels.response.as_deref()) {
            mutations.apply_local(headers, flow);
        }
        self.each_level(|levels| levels.response.as_deref(), |mutations| mutations.apply_local(headers, flow));
    }

    /// `location` of the answer: of a redirect, and of a direct response of status 201 or 3xx the request's own place.
    pub fn location(&self, flow: &mut HttpFlow, keep_original: bool) -> Option<HeaderValue> {
        match self.action() {
            Action::Forward(_) => None,
            Action::Redirect(redirect) => {
                let matches = &self.route.as_ref()?.config.matches;
                redirect::location((redirect, matches), flow, keep_original)
            }
            Action::Direct(direct) if direct.status.is_redirection() || direct.status == http::StatusCode::CREATED => {
                redirect::own(flow)
            }
            Action::Direct(_) => None,
            Action::RequireTls => redirect::to_tls(flow),
        }
    }

    /// The class of requests that this one counts for; `None`: its virtual host has no classes.
    pub fn virtual_cluster(&self, flow: &HttpFlow) -> Option<Arc<str>> {
        let clusters = &self.host.config.virtual_clusters;
        let matching = clusters.iter().find(|cluster| header::request_matches(&cluster.headers, &flow.request));
        match matching {
            Some(cluster) => Some(Arc::clone(&cluster.name)),
            None if clusters.is_empty() => None,
            None => Some("other".into()),
        }
    }

    /// Route, virtual host, configuration; the other way round with `most_specific_header_mutations_wins`.
    fn each_level<'a>(
        &'a self,
        pick: impl Fn(&'a Levels) -> Option<&'a HeaderMutations>,
        mut apply: impl FnMut(&'a HeaderMutations),
    ) {
        let route = self.route.as_ref().map(|route| &route.levels);
        let mut all = [route, Some(&self.host.levels), Some(&self.common.levels)];
        if self.common.config.most_specific_last {
            all.reverse();
        }
        all.into_iter().flatten().filter_map(pick).for_each(&mut apply);
    }
}

#[cfg(test)]
mod tests;
