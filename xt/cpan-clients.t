use strict;
use warnings;

use Test::More;

# Tests that cpanm and cpan install the tarball, with its tests, that the original can be installed on top, and that ours is
# upgraded and removed. All happens in a scratch directory, without CPAN: the prerequisites must be installed. Needs root;
# takes ten minutes.
plan skip_all => 'set AUTHOR_TESTING=1 to run this' if !$ENV{AUTHOR_TESTING};

use Config;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);

use lib dirname(abs_path(__FILE__)) . '/lib';
use Distribution qw(digests files_below make_tarball root run_ok spurt unpack_tarball);

for my $client (qw(cpanm cpan)) {
    plan skip_all => "$client is not installed" if !grep { -x "$_/$client" } split /:/, $ENV{PATH};
}

my $scratch = tempdir(CLEANUP => 1);
my $tarball = make_tarball($scratch);
my %classes = map { ("AnyEvent/WebSocket/$_.pm" => "AnyEvent::WebSocket::$_") } qw(Client Connection Message);

# The clients keep their files below HOME, where the toolchain may be too.
$ENV{CARGO_HOME}       ||= "$ENV{HOME}/.cargo";
$ENV{RUSTUP_HOME}      ||= "$ENV{HOME}/.rustup";
$ENV{CARGO_TARGET_DIR} ||= root() . '/target';
$ENV{HOME}             = "$scratch/home";
$ENV{HARNESS_OPTIONS}  = 'j2';
$ENV{PERL_MM_USE_DEFAULT} = 1;
make_path("$ENV{HOME}/.cpan/CPAN");
# Recommended modules cannot be fetched, because there is no CPAN.
spurt("$ENV{HOME}/.cpan/CPAN/MyConfig.pm", "\$CPAN::Config = { recommends_policy => 0 };\n1;\n");

# Returns what a program with this library loads, as "BACKEND FILE", or the error.
sub loaded {
    my ($lib) = @_;
    my $print = 'print AnyEvent::WebSocket::Connection->can("backend") ? AnyEvent::WebSocket::Connection->backend : "pp",
        " ", $INC{"AnyEvent/WebSocket/Connection.pm"}';
    return `PERL5LIB=$lib $^X -MAnyEvent::WebSocket::Connection -e '$print' 2>&1`;
}

sub ours_below     { return "rust $_[0]/$Config{archname}/AnyEvent/WebSocket/Connection.pm" }
sub original_below { return "pp $_[0]/AnyEvent/WebSocket/Connection.pm" }

# Makes a distribution with the files of the original, in Perl. MakeMaker installs it as it would the original.
sub make_original {
    my ($version) = @_;
    my $dir = "$scratch/original-$version";
    make_path("$dir/lib/AnyEvent/WebSocket");
    spurt("$dir/lib/$_", "package $classes{$_};\nour \$VERSION = '$version';\n1;\n") for keys %classes;
    spurt("$dir/Makefile.PL", <<'PL');
use ExtUtils::MakeMaker;
WriteMakefile(NAME => 'AnyEvent::WebSocket::Client', VERSION_FROM => 'lib/AnyEvent/WebSocket/Client.pm');
PL
    return $dir;
}

sub install_original {
    my ($version, $base, @arguments) = @_;
    my $dir = make_original($version);
    return run_ok(without_harm("cd $dir && export PERL5LIB=$base/lib/perl5 && $^X Makefile.PL INSTALL_BASE=$base"
        . " && make && make install VERBINST=1 @arguments"), "the original $version: make install @arguments");
}

# Runs on a copy of /usr, which is gone afterwards: with UNINST=1, MakeMaker deletes files of the same names wherever perl
# looks for modules, even those of Debian's packages.
sub without_harm {
    my ($command) = @_;
    my $copy = tempdir(DIR => $scratch);
    make_path("$copy/changes", "$copy/work");
    my $mount = "mount -t overlay overlay -o lowerdir=/usr,upperdir=$copy/changes,workdir=$copy/work /usr";
    return "unshare --mount sh -c '$mount || exit 99; $command'";
}
plan skip_all => 'this needs root, and overlays over directories' if system(without_harm('true') . ' 2>/dev/null') != 0;

subtest 'cpanm' => sub {
    my $base = "$scratch/cpanm";
    my $lib  = "$base/lib/perl5";
    my $cpanm = "cpanm --quiet --local-lib $base";
    run_ok("$cpanm $tarball", 'cpanm installs it');
    is(loaded($lib), ours_below($lib), 'ours is loaded');

    my $before = digests($base);
    run_ok("$cpanm --reinstall --notest $tarball", 'over itself');
    my $after = digests($base);
    delete $_->{"lib/perl5/$Config{archname}/perllocal.pod"} for $before, $after;
    is_deeply($after, $before, 'nothing changes');

    install_original('9.98', $base);
    is(loaded($lib), ours_below($lib), 'the original, installed later, stays behind ours');

    my $output = install_original('9.99', $base, 'UNINST=1');
    like($output, qr/^Unlinking .*Connection\.pm/m, 'with UNINST=1, MakeMaker deletes our files of the same names');
    is(loaded($lib), original_below($lib), 'and the original is loaded');
    my $report = `PERL5LIB=$lib $^X -MAnyEvent::WebSocket::Native -e 'print AnyEvent::WebSocket::Native->report'`;
    like($report, qr/^runs on the original, since .* is gone;.*install AnyEvent::WebSocket::Native again$/m, 'the report says so');
    run_ok("$cpanm --reinstall --notest $tarball", 'installed again');
    is(loaded($lib), ours_below($lib), 'ours is back');

    run_ok("$cpanm --uninstall --force AnyEvent::WebSocket::Native", 'cpanm --uninstall');
    is(loaded($lib), original_below($lib), 'the original is loaded');
    my @left = grep { !/^lib\/perl5\/AnyEvent|perllocal\.pod$|\/Client\/\.packlist$/ } files_below($base);
    @left = grep { !m{/\.meta/} } grep { !m{^man/man3/AnyEvent::WebSocket::(?:Client|Connection|Message)\.} } @left;
    is("@left", '', 'nothing of ours is left');
};

subtest 'cpan' => sub {
    my $base = "$scratch/cpan";
    my $lib  = "$base/lib/perl5";
    my $dir  = unpack_tarball($tarball, $scratch);
    my $output = run_ok("cd $dir && PERL_MM_OPT=INSTALL_BASE=$base cpan . </dev/null", 'cpan .');
    like($output, qr/^Result: PASS$/m, 'tested it');
    is(loaded($lib), ours_below($lib), 'ours is loaded');
    run_ok("cd $dir && make uninstall");
    my @left = grep { !/perllocal\.pod$/ } files_below($base);
    is("@left", '', 'make uninstall leaves nothing');
};

done_testing;
