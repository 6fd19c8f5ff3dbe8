# Prints the Debian packages for what MYMETA.json requires at run time, in the form of Debian's Depends.
use 5.022;
use strict;
use warnings;

use JSON::PP qw(decode_json);
use Module::CoreList;

my %PACKAGE_OF = (
    'AnyEvent'                 => 'libanyevent-perl',
    'Class::Method::Modifiers' => 'libclass-method-modifiers-perl',
    'Moo'                      => 'libmoo-perl',
    'Protocol::WebSocket'      => 'libprotocol-websocket-perl',
    'Sub::Defer'               => 'libsub-quote-perl',
    'URI'                      => 'liburi-perl',
    'URI::ws'                  => 'liburi-ws-perl',
);

open my $file, '<', 'MYMETA.json' or die "MYMETA.json: $!\n";
my $required = decode_json(join '', <$file>)->{prereqs}{runtime}{requires};
my @depends;
for my $module (grep { $_ ne 'perl' && !Module::CoreList::is_core($_) } sort keys %$required) {
    my $package = $PACKAGE_OF{$module} // die "it is not known which Debian package has $module\n";
    push @depends, $required->{$module} ? "$package (>= $required->{$module})" : $package;
}
print join ', ', @depends;
