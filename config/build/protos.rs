//! Finds and parses the .proto files of the `envoy-types` package.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost_types::FileDescriptorProto;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// The folders below `proto/` that are roots of import paths; `validate` only holds annotations.
const ROOTS: [&str; 6] =
    ["data-plane-api", "xds", "googleapis", "cel-spec/proto", "opentelemetry-proto", "client_model"];

/// Well-known types; protox brings them along.
const WELL_KNOWN: [&str; 7] = ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"];

/// Types that configurations use and that the package leaves out: `TypedStruct`, as (file, package).
const TYPED_STRUCT: [(&str, &str); 2] =
    [("xds/type/v3/typed_struct.proto", "xds.type.v3"), ("udpa/type/v1/typed_struct.proto", "udpa.type.v1")];

/// And what `matcher_tree.custom_match` may hold, as (file, messages).
const CUSTOM_MATCHERS: [(&str, &str); 2] = [
    (
        "xds/type/matcher/v3/ip.proto",
        "message IPMatcher { \
           message IPRangeMatcher { \
             repeated xds.core.v3.CidrRange ranges = 1; Matcher.OnMatch on_match = 2; bool exclusive = 3; } \
           repeated IPRangeMatcher range_matchers = 1; }",
    ),
    (
        "xds/type/matcher/v3/domain.proto",
        "message ServerNameMatcher { \
           message DomainMatcher { repeated string domains = 1; Matcher.OnMatch on_match = 2; } \
           repeated DomainMatcher domain_matchers = 1; }",
    ),
];

/// All files by import name, parsed but not linked.
pub(crate) type Files = BTreeMap<String, FileDescriptorProto>;

/// Parses every file.
pub(crate) fn load() -> Result<Files, Box<dyn Error>> {
    let proto = package_dir("envoy-types")?.join("proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let mut files = Files::new();
    for root in ROOTS {
        let root = proto.join(root);
        walk(&root, &root, &mut files)?;
    }
    let google = GoogleFileResolver::new();
    for name in WELL_KNOWN {
        let name = format!("google/protobuf/{name}.proto");
        let file = google.open_file(&name)?;
        files.insert(name, file.file_descriptor_proto().clone());
    }
    for (name, package) in TYPED_STRUCT {
        let source = format!(
            "syntax = \"proto3\"; package {package}; import \"google/protobuf/struct.proto\"; \
             message TypedStruct {{ string type_url = 1; google.protobuf.Struct value = 2; }}"
        );
        files.insert(name.to_owned(), File::from_source(name, &source)?.file_descriptor_proto().clone());
    }
    for (name, messages) in CUSTOM_MATCHERS {
        let source = format!(
            "syntax = \"proto3\"; package xds.type.matcher.v3; import \"xds/core/v3/cidr.proto\"; \
             import \"xds/type/matcher/v3/matcher.proto\"; {messages}"
        );
        files.insert(name.to_owned(), File::from_source(name, &source)?.file_descriptor_proto().clone());
    }
    Ok(files)
}

fn walk(root: &Path, dir: &Path, files: &mut Files) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            let name = path.strip_prefix(root)?.to_str().ok_or("a file name that is not UTF-8")?.to_owned();
            let file = File::open(&name, &path).map_err(|e| format!("{}: {e}", path.display()))?;
            files.insert(name, file.file_descriptor_proto().clone());
        }
    }
    Ok(())
}

/// The source folder of a dependency of this crate, wherever cargo keeps it (registry, vendored, path).
fn package_dir(package: &str) -> Result<PathBuf, Box<dyn Error>> {
    // Offline first, for builds without network. It fails where another crate's dependency was never downloaded.
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[]))?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == package)
        .and_then(|p| p["manifest_path"].as_str())
        .ok_or_else(|| format!("cargo metadata does not name the package {package}"))?;
    Ok(Path::new(manifest).parent().ok_or("manifest without a folder")?.to_owned())
}

fn metadata(more: &[&str]) -> Result<serde_json::Value, Box<dyn Error>> {
    let out = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--filter-platform", &env::var("TARGET")?])
        .args(more)
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !out.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
