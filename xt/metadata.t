use strict;
use warnings;

use Test::More;

# Tests that META.json of the tarball tells CPAN which packages are ours, and what they need.
plan skip_all => 'set AUTHOR_TESTING=1 to run this' if !$ENV{AUTHOR_TESTING};

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use JSON::PP qw(decode_json);
use Module::Metadata;

use lib dirname(abs_path(__FILE__)) . '/lib';
use Distribution qw(files_below make_tarball slurp unpack_tarball);

my $scratch  = tempdir(CLEANUP => 1);
my $unpacked = unpack_tarball(make_tarball($scratch), $scratch);
my $meta     = decode_json(slurp("$unpacked/META.json"));

# Packages that belong to the author of the original, including some that we do not have (yet).
my @foreign = map { "AnyEvent::WebSocket::$_" } qw(Client Connection Message Server);

is_deeply($meta->{license}, ['perl_5'], 'license');
is($meta->{resources}, undef, 'no resources, for there is no public address yet');

my @modules = grep { /\.pm$/ } files_below("$unpacked/perl");
my %packages = %{ Module::Metadata->package_versions_from_directory("$unpacked/perl", [map { "$unpacked/perl/$_" } @modules]) };

subtest 'what is indexed' => sub {
    my @not_ours = grep { !/^AnyEvent::WebSocket::(?:Blocking|Deflate|Native|Reconnecting)(?:::|$)/ } keys %packages;
    is("@not_ours", '', 'what PAUSE finds in the modules is ours');
    is_deeply([sort keys %{ $meta->{provides} }], [sort keys %packages], 'META provides that, and nothing else');
    my @versions = grep { $_ ne $meta->{version} } grep { defined } map { $_->{version} } values %packages, values %{ $meta->{provides} };
    is("@versions", '', 'all with the version of the distribution');

    my %hidden = map { $_ => 1 } @{ $meta->{no_index}{package} };
    ok($hidden{$_}, "no_index: package $_") for grep { -e "$unpacked/perl/" . s{::}{/}gr . '.pm' } @foreign;
    %hidden = map { $_ => 1 } @{ $meta->{no_index}{file} };
    for my $file (map { "perl/$_" } @modules) {
        next if grep { $_->{file} eq $file } values %{ $meta->{provides} };
        ok($hidden{$file}, "no_index: file $file");
    }
    %hidden = map { $_ => 1 } @{ $meta->{no_index}{directory} };
    my %directories = map { m{^([^/]+)/.*\.pm$} ? ($1 => 1) : () } files_below($unpacked);
    delete $directories{perl};
    ok($hidden{$_}, "no_index: directory $_") for sort keys %directories;
};

# Modules that come with another listed module.
my %part_of = (
    'AE'                                       => 'AnyEvent',
    'AnyEvent::Handle'                         => 'AnyEvent',
    'AnyEvent::Log'                            => 'AnyEvent',
    'AnyEvent::Socket'                         => 'AnyEvent',
    'AnyEvent::TLS'                            => 'AnyEvent',
    'AnyEvent::Util'                           => 'AnyEvent',
    'Moo::Role'                                => 'Moo',
    'Protocol::WebSocket::Frame'               => 'Protocol::WebSocket',
    'Protocol::WebSocket::Handshake::Client'   => 'Protocol::WebSocket',
    'Protocol::WebSocket::Handshake::Server'   => 'Protocol::WebSocket',
    'Protocol::WebSocket::Message'             => 'Protocol::WebSocket',
    'Protocol::WebSocket::Request'             => 'Protocol::WebSocket',
    'Protocol::WebSocket::Response'            => 'Protocol::WebSocket',
);

# Returns what a file's code loads, without pragmas and without what the distribution itself has.
sub loaded_by {
    my ($path) = @_;
    my $code = slurp($path) =~ s/^__(?:END|DATA)__$.*//msr =~ s/^\s*#.*$//mgr;
    my %loaded;
    $loaded{$1}++ while $code =~ /(?:^|[;{}(]|\bdo\b)\s*(?:use|require)\s+([A-Z]\w*(?:::\w+)*)\s*(?:[;('"\d}]|qw\b|$)/mg;
    $loaded{$1}++ while $code =~ /\beval \{ require ([A-Z][\w:]+)/g;
    # Base classes and roles are loaded by Moo.
    $loaded{$1}++ while $code =~ /^(?:extends|with)\s+'([\w:]+)'/mg;
    return grep { !$packages{$_} && !-e "$unpacked/t/lib/" . s{::}{/}gr . '.pm' } sort keys %loaded;
}

sub listed_for {
    my (@phases) = @_;
    return { map { %$_ } map { values %{ $meta->{prereqs}{$_} } } @phases };
}

sub check_prereqs {
    my ($dir, $wanted, $used) = @_;
    my $listed = listed_for(@$wanted);
    my %users;
    for my $path (grep { /\.(?:pm|t|PL)$/ } map { "$dir/$_" } files_below($dir)) {
        push @{ $users{ $part_of{$_} // $_ } }, $path for loaded_by($path);
    }
    for my $module (sort keys %users) {
        next if $used->{$module};
        ok(exists $listed->{$module}, "$module is listed") or diag "used by @{ $users{$module} }";
    }
    return \%users;
}

subtest 'prerequisites of the modules' => sub {
    my %shadowing = map { $_ => 1 } @foreign[1, 2];
    my $users = check_prereqs("$unpacked/perl", ['runtime'], \%shadowing);
    # No module loads these: they are for applications, and for the choice of an event loop.
    my %unused = map { $_ => 1 } qw(perl AnyEvent::WebSocket::Server EV Net::SSLeay);
    my @superfluous = grep { !$users->{$_} && !$unused{$_} } sort keys %{ listed_for('runtime') };
    is("@superfluous", '', 'nothing else is listed');
    my $recommended = $meta->{prereqs}{runtime}{recommends};
    ok(exists $recommended->{$_}, "$_ is only recommended") for qw(AnyEvent::WebSocket::Client Cpanel::JSON::XS EV Net::SSLeay);
};

subtest 'prerequisites of the tests' => sub {
    my %own = map { $_ => 1 } @foreign[1, 2], qw(ApiFuzz::Leaks ExampleProgram ExampleTest Config);
    check_prereqs("$unpacked/t", [qw(runtime test)], \%own);
};

subtest 'prerequisites of the build' => sub {
    my %own = map { $_ => 1 } qw(CargoBuild Toolchain Config);
    check_prereqs("$unpacked/inc", [qw(configure build)], \%own);
};

done_testing;
