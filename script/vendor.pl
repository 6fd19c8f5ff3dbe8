#!/usr/bin/env perl
# Puts the crates that the extension is built from into an unpacked distribution, so that it builds without a network:
#   script/vendor.pl DIRECTORY
# `make dist VENDOR=1` calls this. Needs the Rust registry for what cargo has not downloaded yet.
#
# cargo wants everything that Cargo.lock names, but compiles a part: what tests or Windows need is there in name only.
use 5.022;
use strict;
use warnings;

use Digest::SHA;
use ExtUtils::Manifest qw(maniadd);
use File::Find qw(find);
use File::Path qw(make_path remove_tree);
use JSON::PP;

# The platforms on which the extension may be built. What none of them uses is left out.
my @PLATFORMS = qw(
    aarch64-apple-darwin x86_64-apple-darwin
    aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf i686-unknown-linux-gnu powerpc64le-unknown-linux-gnu
    riscv64gc-unknown-linux-gnu s390x-unknown-linux-gnu x86_64-unknown-linux-gnu
    aarch64-unknown-linux-musl x86_64-unknown-linux-musl
    x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-unknown-openbsd
);

# Large parts that these platforms do not need: system calls of other processors.
my %SUPERFLUOUS = ('linux-raw-sys' => qr{^src/(?:csky|loongarch64|mips\w*|powerpc|riscv32|sparc\w*|x32)/});

my $json = JSON::PP->new->canonical;
my ($distribution) = @ARGV;
die "usage: $0 DIRECTORY\n" if @ARGV != 1 || !-e "$distribution/MANIFEST";

my $vendor = "$distribution/vendor";
remove_tree($vendor);
cargo(qw(vendor --quiet --locked --versioned-dirs), $vendor);
my %needed = map { packages_for($_) } @PLATFORMS;
for my $crate (glob "$vendor/*") {
    my ($id) = $crate =~ m{([^/]+)$};
    $needed{$id} ? trim($crate) : hollow_out($crate);
}
chdir $distribution or die "$distribution: $!\n";
check();
add_to_manifest();

# Runs cargo and returns its standard output.
sub cargo {
    my (@arguments) = @_;
    my $cargo = $ENV{CARGO} || 'cargo';
    open my $from, '-|', $cargo, @arguments or die "$cargo: $!\n";
    my $output = do { local $/; <$from> };
    close $from or die "$cargo $arguments[0] failed\n";
    return $output;
}

# Returns "NAME-VERSION" => 1 for each package that building on a platform takes. cargo tree would report the build
# dependencies of this machine, whatever the platform.
sub packages_for {
    my ($platform) = @_;
    my $metadata = decode_json(cargo(qw(metadata --locked --offline --features xs --format-version 1 --filter-platform), $platform));
    my %node = map { $_->{id} => $_ } @{ $metadata->{resolve}{nodes} };
    my %seen;
    my @queue = $metadata->{resolve}{root};
    while (defined(my $id = shift @queue)) {
        next if $seen{$id}++;
        push @queue, map { $_->{pkg} } grep { is_used($_) } @{ $node{$id}{deps} };
    }
    return map { ("$_->{name}-$_->{version}" => 1) } grep { $seen{ $_->{id} } } @{ $metadata->{packages} };
}

sub is_used { return scalar grep { ($_->{kind} // '') ne 'dev' } @{ $_[0]{dep_kinds} } }

# Removes what is not compiled.
sub trim {
    my ($crate) = @_;
    remove_tree(grep { -d } map { "$crate/$_" } qw(.github benches ci examples tests));
    unlink map { "$crate/$_" } qw(.cargo_vcs_info.json .gitignore Cargo.lock Cargo.toml.orig);
    my ($name) = $crate =~ m{([^/]+)-\d[^/]*$};
    my $superfluous = $SUPERFLUOUS{$name};
    unlink grep { $superfluous && substr($_, 1 + length $crate) =~ $superfluous } files_below($crate);
    rewrite("$crate/Cargo.toml", sub { $_[0] !~ /^\[\[(?:bench|example|test)\]\]/ });
    update_checksums($crate);
    return;
}

# Keeps only what cargo needs to resolve dependencies: name, version, features (which may name any dependency), dependencies.
sub hollow_out {
    my ($crate) = @_;
    my $checksums = read_checksums($crate);
    my $manifest = slurp("$crate/Cargo.toml");
    remove_tree($crate);
    make_path("$crate/src");
    spurt("$crate/src/lib.rs", "// Not compiled where this distribution can be built.\n");
    spurt("$crate/Cargo.toml", $manifest);
    rewrite("$crate/Cargo.toml", sub { $_[0] =~ /^\[(?:package\]|features\]|(?:.*\.)?(?:build-|dev-)?dependencies\b)/ });
    # The crate has no build script left (without which `links` is not allowed), and its library is in the default place.
    spurt("$crate/Cargo.toml", slurp("$crate/Cargo.toml") =~ s/^(?:auto\w+|build|license-file|links|readme)\s*=.*\n//mgr);
    write_checksums($crate, $checksums);
    update_checksums($crate);
    return;
}

# Keeps the sections for which the function is true. In a published manifest, each section starts at a line of its own.
sub rewrite {
    my ($path, $is_kept) = @_;
    spurt($path, join '', grep { !/^\[/ || $is_kept->($_) } split /^(?=\[)/m, slurp($path));
    return;
}

sub read_checksums { return decode_json(slurp("$_[0]/.cargo-checksum.json")) }

sub write_checksums {
    my ($crate, $checksums) = @_;
    spurt("$crate/.cargo-checksum.json", $json->encode($checksums));
    return;
}

# Updates the checksums of the remaining files; that of the package, which Cargo.lock has too, stays.
sub update_checksums {
    my ($crate) = @_;
    my $checksums = read_checksums($crate);
    my @files = grep { $_ ne '.cargo-checksum.json' } map { substr $_, 1 + length $crate } files_below($crate);
    $checksums->{files} = { map { $_ => Digest::SHA->new(256)->addfile("$crate/$_", 'b')->hexdigest } @files };
    write_checksums($crate, $checksums);
    return;
}

# Dies if cargo cannot resolve dependencies from what is left.
sub check {
    cargo(qw(metadata --locked --offline --features xs --format-version 1),
        '--config', 'source.crates-io.replace-with="here"', '--config', 'source.here.directory="vendor"');
    return;
}

sub add_to_manifest {
    chmod 0644, 'MANIFEST';
    $ExtUtils::Manifest::MANIFEST = 'MANIFEST';
    maniadd({ map { $_ => '' } files_below('vendor') });
    return;
}

sub files_below {
    my ($dir) = @_;
    my @files;
    find({ no_chdir => 1, wanted => sub { push @files, $_ if -f } }, $dir);
    return sort @files;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return <$file> // '';
}

sub spurt {
    my ($path, $content) = @_;
    open my $file, '>:raw', $path or die "$path: $!\n";
    print {$file} $content;
    close $file or die "$path: $!\n";
    return;
}
