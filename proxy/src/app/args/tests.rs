#![allow(clippy::unwrap_used, clippy::panic)]

use clap::CommandFactory as _;

use super::*;
use crate::app::cli::command;
use crate::app::role::testing::EGRESS;

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}\n{e}"))
}

fn run(line: &str) -> RunArgs {
    match parse(line).command {
        Some(Command::Run(args)) => *args,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    command(&EGRESS).debug_assert();
}

/// test/framework/universal_app.go and the Helm charts of Kuma.
#[test]
fn kumas_own_command_lines() {
    let args = run("kuma-dp run --cp-address=https://10.0.0.1:5678 --dataplane-token-file=/kuma/token-ingress \
                    --binary-path /usr/local/bin/envoy --dataplane-file=/kuma/dp.yaml --dataplane-var name=ingress \
                    --dataplane-var address=10.0.0.2 --concurrency 2 --proxy-type ingress");
    assert_eq!(args.cp_address.as_deref(), Some("https://10.0.0.1:5678"));
    assert_eq!(args.resource.dataplane_var, ["name=ingress", "address=10.0.0.2"]);
    assert_eq!((args.concurrency, args.proxy_type.as_deref()), (Some(2), Some("ingress")));
    let cli = parse("kuma-dp run --log-level=info");
    assert_eq!(cli.log.log_level, "info");
    assert_eq!(parse("kuma-dp --log-level=debug run").log.log_level, "debug");
}

#[test]
fn every_flag_of_kuma_dp_and_kong_mesh() {
    let args =
        run("kuma-dp run --name n --mesh m --proxy-type egress --drain-time 1m30s --cp-address u --ca-cert-file f \
        --skip-verify --binary-path b --concurrency 0 --config-dir c --work-dir w --dataplane-token-file t \
        --dataplane-token k --dataplane r -d - -v a=1,b=2 -v c.d=3 --envoy-log-level warn \
        --envoy-component-log-level upstream:debug --metrics-cert-path mc --metrics-key-path mk --bind-outbounds \
        --dns-enabled=false --dns-envoy-port 1 --dns-coredns-port 2 --dns-coredns-path p \
        --dns-coredns-config-template-path q --dns-server-config-dir s --dns-prometheus-port 3 --dns-enable-logging \
        --dns-proxy-port 4 --transparent-proxy --transparent-proxy-config x --opa-enabled=false --opa-addr o \
        --opa-diagnostic-addr o --opa-ext-authz-addr o --opa-config-path o --opa-set a=b --opa-set c=d \
        --log-level debug --log-output-path /tmp/l --log-max-retained-files 1 --log-max-size 2 --log-max-age 3");
    assert_eq!(args.drain_time, Some(Duration::from_secs(90)));
    assert_eq!(args.resource.dataplane_var, ["a=1", "b=2", "c.d=3"]);
    assert_eq!(args.resource.dataplane_file.as_deref(), Some(std::path::Path::new("-")));
    assert_eq!(
        (args.skip_verify, args.sidecar.dns_enabled, args.sidecar.transparent_proxy),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!((args.kong.opa_enabled, args.kong.opa_set.len()), (Some(false), 2));
}

#[test]
fn as_envoy_is_called() {
    let cli = parse(
        "zone-ingress -c b.yaml --concurrency 1 --base-id 3 --disable-hot-restart --drain-time-s 5 \
        --drain-strategy immediate -l warning --component-log-level upstream:debug --service-node n --service-cluster c \
        --config-yaml {} --mode validate --use-dynamic-base-id --admin-address-path a --restart-epoch 0 \
        --parent-shutdown-time-s 9 --log-path /tmp/x --log-format %v --cpuset-threads --stats-tag a:b --service-zone z \
        --allow-unknown-static-fields --reject-unknown-dynamic-fields --file-flush-interval-msec 1 --socket-mode 600 \
        --local-address-ip-version v4 --enable-core-dump --skip-deprecated-logs --base-id-path p --socket-path s",
    );
    assert!(cli.command.is_none());
    assert_eq!((cli.envoy.mode, cli.envoy.drain_strategy), (Some(Mode::Validate), Some(Strategy::Immediate)));
    assert_eq!((cli.envoy.concurrency, cli.log.log_level.as_str()), (Some(1), "warning"));
    assert_eq!(parse("zone-ingress --config-path b.yaml").envoy.config_path, Some("b.yaml".into()));
}

#[test]
fn wait_and_validate() {
    let Some(Command::Wait(args)) = parse("kuma-dp wait").command else { panic!() };
    assert_eq!(args.url, "http://localhost:9901/ready");
    let times = (args.timeout, args.check_frequency, args.request_timeout);
    assert_eq!(times, (Duration::from_secs(180), Duration::from_secs(1), Duration::from_millis(500)));
    let Some(Command::Wait(args)) =
        parse("kuma-dp wait --url http://localhost:1/ready --timeout 2s --check-frequency 100ms --request-timeout 1s")
            .command
    else {
        panic!()
    };
    assert_eq!(args.timeout, Duration::from_secs(2));
    let Some(Command::Validate(args)) = parse("zone-ingress validate f.yaml --format json").command else { panic!() };
    assert_eq!((args.format, args.file), (Format::Json, "f.yaml".into()));
}

#[test]
fn unknown_flags_are_errors() {
    for line in
        ["kuma-dp run --no-such", "kuma-dp run --drain-time soon", "kuma-dp run --skip-verify=maybe", "kuma-dp nosuch"]
    {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}

/// `--help` is for people: every flag that has an effect says what it does.
#[test]
fn flags_with_an_effect_are_explained() {
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    for arg in command.get_arguments().chain(run.get_arguments()) {
        let hidden = arg.is_hide_short_help_set();
        assert!(hidden || arg.get_help().is_some(), "--{} has no help", arg.get_id());
    }
}
