//! Builds the C half of the binding, and keeps libperl out of the library's dependencies.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "xs")]
    xs::build();
}

#[cfg(feature = "xs")]
mod xs {
    use libperl_config::PerlConfig;
    use std::{env, fs, path::Path};

    const GLUE: &str = "src/xs/glue";

    pub fn build() {
        println!("cargo::rerun-if-changed={GLUE}");
        println!("cargo::rerun-if-env-changed=PERL");
        let perl = PerlConfig::default();
        perl.emit_features(&["useithreads"]);
        hide_libperl();
        let mut glue = cc::Build::new();
        for flag in perl.read_ccopts().expect("perl knows its own compiler flags") {
            glue.flag(flag);
        }
        // Perl's headers, not ours, set off these.
        glue.flag_if_supported("-Wno-unused-parameter");
        glue.files(["calls", "state", "system", "values"].map(|name| format!("{GLUE}/{name}.c"))).compile("glue");
    }

    /// libperl-sys asks for `-lperl`. An extension must not have it: the interpreter that loads the extension provides
    /// every symbol, and a second copy of them would be another interpreter. An empty archive by that name, found first,
    /// satisfies every linker.
    fn hide_libperl() {
        let out_dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        fs::write(Path::new(&out_dir).join("libperl.a"), "!<arch>\n").expect("OUT_DIR is writable");
        println!("cargo::rustc-link-search=native={out_dir}");
        if env::var("CARGO_CFG_TARGET_VENDOR").as_deref() == Ok("apple") {
            // Elsewhere symbols that nobody has yet are no error.
            println!("cargo::rustc-link-arg-cdylib=-Wl,-undefined,dynamic_lookup");
        }
    }
}
