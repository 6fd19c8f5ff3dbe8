//! Checks that imports point one way: each source file imports only from files that ARCHITECTURE.md lists before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{ItemMod, UseTree};

/// The path of a source file, without its extension: `src/engine/frame`.
type File = String;

/// Returns the files in the order of the listing under "Layers"; each row has a folder and files in it.
fn listing() -> Vec<File> {
    let text = fs::read_to_string("ARCHITECTURE.md").expect("ARCHITECTURE.md is there");
    let (_, section) = text.split_once("## Layers").expect("it has a section called Layers");
    let block = section.split("```").nth(1).expect("the section has a listing");
    let (mut files, mut folder) = (Vec::new(), "");
    for line in block.lines().skip(1) {
        let mut words = line.split_whitespace().peekable();
        if !line.starts_with(' ') {
            folder = words.next().unwrap_or(folder);
        }
        files.extend(words.map(|name| format!("{folder}{name}")));
    }
    files
}

/// Finds all files below a folder that end in `ending`, and strips that. Skips files that only declare a folder's
/// modules.
fn files_below(folder: &Path, ending: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.to_str().expect("a name in UTF-8");
        match name.strip_suffix(ending) {
            _ if path.is_dir() => files_below(&path, ending, found),
            Some(file) if !file.ends_with("/mod") && !file.ends_with("/lib") => found.push(file.to_owned()),
            _ => {}
        }
    }
}

/// The imports of some files, as pairs `(importer, imported)`.
type Imports = Vec<(File, File)>;

// --- Rust

/// Collects the full paths of what a file names: `engine::frame::FrameHeader`.
struct Paths {
    /// The path of the file's own module.
    module: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    fn note(&mut self, segments: &[String]) {
        let (mut path, rest) = match segments {
            [first, rest @ ..] if first == "crate" => (Vec::new(), rest),
            [first, rest @ ..] if first == "super" => (self.module[..self.module.len() - 1].to_vec(), rest),
            _ => return,
        };
        for segment in rest {
            match segment.as_str() {
                "super" => path.truncate(path.len().saturating_sub(1)),
                _ => path.push(segment.clone()),
            }
        }
        self.found.push(path);
    }

    fn note_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) if name.ident == "self" => self.note(before),
            UseTree::Name(name) => self.note(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.note(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        self.note_tree(tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    /// Tests may import anything.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.ident != "tests" {
            // In an inline module, `super` is this file.
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }
}

fn rust_imports(files: &[File]) -> Imports {
    let mut imports = Vec::new();
    for file in files {
        let source = fs::read_to_string(format!("{file}.rs")).expect("a source file");
        let module: Vec<String> = file.split('/').skip(1).map(str::to_owned).collect();
        let mut paths = Paths { module, found: Vec::new() };
        paths.visit_file(&syn::parse_file(&source).expect("Rust"));
        for path in paths.found {
            // The longest prefix that is a file; the rest of the path is inside that file.
            let beginnings = (1..=path.len()).rev().map(|len| format!("src/{}", path[..len].join("/")));
            imports.extend(beginnings.into_iter().find(|name| files.contains(name)).map(|name| (file.clone(), name)));
        }
    }
    imports
}

// --- Perl

/// Returns the name of the file that holds a package.
fn perl_file(package: &str) -> File {
    format!("perl/{}", package.replace("::", "/"))
}

/// Returns a line of Perl without quoted text: a name there is data, such as a log's.
fn unquoted(line: &str) -> String {
    let (mut code, mut quote, mut escaped) = (String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(end) => {
                if c == end && !escaped {
                    quote = None;
                }
                escaped = c == '\\' && !escaped;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            None => code.push(c),
        }
    }
    code
}

/// Returns the packages that a line of Perl names in full.
fn packages(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    line.split(move |c| !is_name(c)).filter(|word| word.starts_with("AnyEvent::WebSocket::"))
}

fn perl_imports(files: &[File]) -> Imports {
    let mut imports = Vec::new();
    for file in files {
        let source = fs::read_to_string(format!("{file}.pm")).expect("a source file");
        let code = source.split("\n__END__\n").next().unwrap_or_default();
        // The part before that has the package's own name, which need not be the file's.
        let (_, code) = code.split_once("use strict;").expect("Perl that is strict");
        for line in code.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for name in packages(&unquoted(line)) {
                // A sub's name comes after its package's.
                let names = [name, name.rsplit_once("::").map_or(name, |(package, _)| package)];
                let found = names.iter().map(|name| perl_file(name)).find(|name| files.contains(name));
                imports.extend(found.map(|name| (file.clone(), name)));
            }
        }
    }
    imports
}

// --- the rules

#[test]
fn every_file_is_in_the_listing_once() {
    let mut found = Vec::new();
    files_below(Path::new("src"), ".rs", &mut found);
    files_below(Path::new("perl"), ".pm", &mut found);
    found.retain(|file| !file.ends_with("_tests"));
    found.sort();
    let mut listed = listing();
    listed.sort();
    assert_eq!(listed, found, "left: listed in ARCHITECTURE.md, right: found");
}

#[test]
fn imports_go_to_files_before() {
    let listed = listing();
    let is_rust = |file: &&File| PathBuf::from(format!("{file}.rs")).exists();
    let (rust, perl): (Vec<&File>, Vec<&File>) = listed.iter().partition(is_rust);
    let owned = |files: Vec<&File>| files.into_iter().cloned().collect::<Vec<File>>();
    let mut imports = rust_imports(&owned(rust));
    imports.extend(perl_imports(&owned(perl)));
    assert!(imports.len() > 100, "imports are found: {}", imports.len());
    let place: BTreeMap<&File, usize> = listed.iter().zip(0..).collect();
    let mut upward: Vec<String> = imports
        .iter()
        .filter(|(importer, imported)| importer != imported && place[imported] > place[importer])
        .map(|(importer, imported)| format!("{importer} imports {imported}"))
        .collect();
    upward.sort();
    upward.dedup();
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}
