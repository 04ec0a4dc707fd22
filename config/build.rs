//! Writes `schema.bin`: every message and enum of the .proto files that the `envoy-types` package ships, as one flat
//! table that `json::schema` reads in place. See `build/table.rs` for its layout.

#[path = "build/names.rs"]
mod names;
#[path = "build/protos.rs"]
mod protos;
#[path = "build/table.rs"]
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let files = protos::load()?;
    let names = names::Names::index(&files);
    let table = table::build(&files, &names)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("schema.bin"), table)?;
    Ok(())
}
