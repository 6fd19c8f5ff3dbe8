//! Builds the C half of the binding, and keeps libperl out of the library's dependencies.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "xs")]
    xs::build();
}

#[cfg(feature = "xs")]
mod xs {
    use libperl_config::PerlConfig;
    use std::{env, fs, path::PathBuf};

    const GLUE: &str = "src/xs/glue";

    pub fn build() {
        println!("cargo::rerun-if-changed={GLUE}");
        println!("cargo::rerun-if-env-changed=PERL");
        let perl = PerlConfig::default();
        perl.emit_features(&["usemultiplicity"]);
        hide_libperl();
        let mut glue = cc::Build::new();
        for flag in perl.read_ccopts().expect("perl knows its own compiler flags") {
            glue.flag(flag);
        }
        // Perl's headers, not ours, cause these warnings.
        glue.flag_if_supported("-Wno-unused-parameter");
        glue.files(
            ["calls", "classes", "state", "system", "tail_call", "values"].map(|name| format!("{GLUE}/{name}.c")),
        )
        .compile("glue");
        declare_for_rust();
    }

    fn out_dir() -> PathBuf {
        env::var("OUT_DIR").expect("cargo sets OUT_DIR").into()
    }

    /// The perl types that the interface uses. Rust has the structs from libperl-sys.
    const TYPES: &str = "
        typedef _Bool bool;
        typedef unsigned short U16;
        typedef unsigned int U32;
        typedef int I32;
        typedef __SIZE_TYPE__ STRLEN; // Rust: usize
        typedef __PTRDIFF_TYPE__ SSize_t; // Rust: isize
        typedef struct av AV;
        typedef struct cv CV;
        typedef struct hek HEK;
        typedef struct hv HV;
        typedef struct io IO;
        typedef struct interpreter PerlInterpreter;
        typedef struct sv SV;
    ";

    /// Creates the Rust declarations of `interface.h`.
    fn declare_for_rust() {
        let interface = fs::read_to_string(format!("{GLUE}/interface.h")).expect("the sources are complete");
        let declarations = bindgen::builder()
            .header_contents("interface.h", &format!("{TYPES}{interface}"))
            // In C23 `bool` is a keyword.
            .clang_arg("-std=c11")
            .allowlist_item("(?i)ws_.*")
            .blocklist_type("AV|CV|HEK|HV|IO|PerlInterpreter|SSize_t|STRLEN|SV|av|cv|hek|hv|io|interpreter|sv")
            .blocklist_item("ws_rust_tables")
            .rustified_enum("ws_call_kind")
            .derive_copy(false)
            .derive_debug(false)
            .layout_tests(false)
            .merge_extern_blocks(true)
            // Its default, rustfmt, is not everywhere.
            .formatter(bindgen::Formatter::Prettyplease)
            .generate()
            .expect("bindgen parses the interface")
            .to_string();
        // This version of bindgen predates Rust 2024.
        let declarations = declarations.replace("\nextern \"C\" {", "\nunsafe extern \"C\" {");
        fs::write(out_dir().join("interface.rs"), declarations).expect("OUT_DIR is writable");
    }

    /// Creates an archive `libperl.a`, because libperl-sys asks for `-lperl`. An extension must not link to libperl: the
    /// interpreter that loads it provides every symbol, and a second copy would be another interpreter. The linker finds
    /// this archive first. It has one member, because Apple's linker refuses an archive without a table of contents.
    fn hide_libperl() {
        cc::Build::new().cargo_metadata(false).file(format!("{GLUE}/no_libperl.c")).compile("perl");
        println!("cargo::rustc-link-search=native={}", out_dir().display());
        if env::var("CARGO_CFG_TARGET_VENDOR").as_deref() == Ok("apple") {
            // On other systems undefined symbols are not an error.
            println!("cargo::rustc-link-arg-cdylib=-Wl,-undefined,dynamic_lookup");
        }
    }
}
