//! Without a GPU: the text that every kernel is compiled from (its file behind the parts of the
//! prelude that it imports) is valid, and the host's picture of it (entry points, workgroup sizes,
//! bindings, uniform structs) is the text's.
//!
//! To look at a kernel whole, in an editor or with naga:
//! `cargo test -p potluck-engine --test wgsl_valid` leaves the texts, comments and all, in
//! `target/tmp/wgsl`.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use std::collections::{BTreeMap, BTreeSet};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, GlobalVariable, Module, StorageAccess, TypeInner};
use potluck_engine::gpu::testing::{Access, KERNELS, LAYOUTS, PRELUDE, Source, with_subgroups};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels");

/// Every file once.
fn sources() -> BTreeMap<&'static str, Source> {
    KERNELS.iter().map(|kernel| (kernel.source.file, kernel.source)).collect()
}

/// Name to what is compiled, of every file.
fn joined() -> BTreeMap<&'static str, String> {
    sources().into_iter().map(|(file, source)| (file, source.join())).collect()
}

/// Names of the `.wgsl` files of a folder.
fn files(folder: &str) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wgsl"))
        .collect()
}

fn parse(file: &str, source: &str) -> Module {
    naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{file}: {}", error.emit_to_string(source)))
}

fn access(variable: &GlobalVariable) -> Access {
    match variable.space {
        AddressSpace::Uniform => Access::Uniform,
        AddressSpace::Storage { access } if access == StorageAccess::LOAD => Access::Read,
        AddressSpace::Storage { .. } => Access::Write,
        other => panic!("a binding in {other:?}"),
    }
}

#[test]
fn every_file_of_the_folders_is_compiled_in() {
    assert_eq!(files(FOLDER), sources().keys().map(|file| (*file).to_owned()).collect());
    let parts = PRELUDE.iter().map(|(name, _)| format!("{name}.wgsl")).collect();
    assert_eq!(files(&format!("{FOLDER}/prelude")), parts);
}

#[test]
fn what_is_imported_exists_and_what_exists_is_imported() {
    let parts: BTreeSet<&str> = PRELUDE.iter().map(|(name, _)| *name).collect();
    let imports = sources().into_values().flat_map(|source| source.imports.split(", "));
    assert_eq!(imports.collect::<BTreeSet<_>>(), parts);
}

/// What is compiled in is the file line by line, but for comments and indentation. The texts with
/// their comments are left behind for editors.
#[test]
fn only_comments_and_indentation_are_left_out() {
    let whole = concat!(env!("CARGO_TARGET_TMPDIR"), "/wgsl");
    std::fs::create_dir_all(whole).unwrap();
    let part = |name: &str| std::fs::read_to_string(format!("{FOLDER}/prelude/{name}.wgsl"));
    for (file, source) in sources() {
        let parts = PRELUDE.iter().filter(|(name, _)| source.imports(name));
        let mut text: String = parts.map(|(name, _)| part(name).unwrap()).collect();
        text += &std::fs::read_to_string(format!("{FOLDER}/{file}")).unwrap();
        std::fs::write(format!("{whole}/{file}"), &text).unwrap();
        let bare = |line: &str| line.split("//").next().unwrap().trim_start_matches(' ').to_owned();
        let expected: Vec<String> = text.lines().map(bare).collect();
        assert_eq!(source.join().lines().collect::<Vec<_>>(), expected, "{file}");
    }
}

#[test]
fn files_are_valid_and_hold_the_entry_points_and_bindings_that_the_host_names() {
    for (file, source) in joined() {
        let module = parse(file, &source);
        // No capability: plain WGSL, which every browser takes.
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{file}: {}", error.emit_to_string(&source)));
        let named: BTreeSet<_> = KERNELS
            .iter()
            .filter(|kernel| kernel.source.file == file)
            .map(|kernel| kernel.entry_point)
            .collect();
        assert_eq!(
            named,
            module.entry_points.iter().map(|entry| entry.name.as_str()).collect(),
            "{file}"
        );

        for (index, entry) in module.entry_points.iter().enumerate() {
            let kernel = KERNELS.iter().find(|kernel| kernel.entry_point == entry.name).unwrap();
            assert_eq!(
                entry.workgroup_size_overrides.is_some(),
                kernel.resizable,
                "{}",
                entry.name
            );
            if !kernel.resizable {
                assert_eq!(entry.workgroup_size, [kernel.workgroup_size, 1, 1], "{}", entry.name);
            }
            let mut host = BTreeMap::new();
            for (group, accesses) in (0..).zip([kernel.bindings, kernel.cache_bindings]) {
                let accesses = accesses.iter().map(|access| match access {
                    Access::Part => Access::Uniform,
                    other => *other,
                });
                host.extend(
                    (0..).zip(accesses).map(|(binding, access)| ((group, binding), access)),
                );
            }
            let used = module
                .global_variables
                .iter()
                .filter(|(handle, _)| !info.get_entry_point(index)[*handle].is_empty());
            let device: BTreeMap<_, _> = used
                .filter_map(|(_, variable)| Some((variable.binding?, variable)))
                .map(|(place, variable)| ((place.group, place.binding), access(variable)))
                .collect();
            assert_eq!(device, host, "bindings of {}", entry.name);
            let storage = host.values().filter(|access| **access != Access::Uniform).count();
            assert!(
                storage <= 8,
                "{} binds {storage} storage buffers; WebGPU promises 8",
                entry.name
            );
        }
    }
}

/// Their second format: every reduction goes through subgroups.
#[test]
fn files_with_subgroups_are_valid() {
    let mut reductions = 0;
    for kernel in KERNELS.iter().filter(|kernel| kernel.reduces) {
        let (file, joined) = (kernel.source.file, kernel.source.join());
        let source = with_subgroups(&joined, false);
        let module = parse(file, &source);
        Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{file}: {}", error.emit_to_string(&source)));
        let plain = joined
            .lines()
            .filter(|line| line.starts_with("atomicMax") || line.starts_with("atomicAdd"));
        assert_eq!(source.matches("subgroupBroadcastFirst").count(), plain.count(), "{file}");
        reductions += source.matches("subgroupBroadcastFirst").count();
        assert!(with_subgroups(&joined, true).starts_with("enable subgroups;"));
    }
    assert!(reductions > 30, "{reductions}");
}

#[test]
fn uniform_structs_lie_in_memory_as_on_the_host() {
    let mut seen = BTreeSet::new();
    for (file, source) in joined() {
        let module = parse(file, &source);
        for (_, variable) in module.global_variables.iter() {
            if variable.space != AddressSpace::Uniform {
                continue;
            }
            let structure = &module.types[variable.ty];
            let name = structure.name.clone().unwrap();
            let TypeInner::Struct { members, span } = &structure.inner else {
                panic!("{file}: {name} is no struct")
            };
            let layout = LAYOUTS
                .iter()
                .find(|layout| layout.name == name)
                .unwrap_or_else(|| panic!("{file}: {name} is unknown to the host"));
            let device: Vec<_> = members
                .iter()
                .map(|member| (member.name.as_deref().unwrap(), member.offset as usize))
                .collect();
            assert_eq!(device, layout.fields, "{file}: {name}");
            assert_eq!(*span as usize, layout.size_bytes, "{file}: {name}");
            seen.insert(name);
        }
    }
    assert_eq!(seen.len(), LAYOUTS.len(), "{seen:?}");
}

/// Names of the functions and structs of a file.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with("fn ") || line.starts_with("struct "))
        .filter_map(|line| line.split(['(', '{']).next())
}

#[test]
fn what_two_files_need_is_in_the_prelude() {
    let texts = PRELUDE
        .iter()
        .copied()
        .chain(sources().into_iter().map(|(file, source)| (file, source.text)));
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (file, text) in texts {
        for item in items(text) {
            let elsewhere = seen.insert(item, file);
            assert!(elsewhere.is_none(), "{item} is in {elsewhere:?} and in {file}");
        }
    }
    for expected in ["fn rescale", "fn mul_shift", "fn fit_mantissa", "struct Model "] {
        assert!(seen.contains_key(expected), "{expected} is not found: {seen:?}");
    }
}
