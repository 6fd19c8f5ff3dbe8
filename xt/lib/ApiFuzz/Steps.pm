package ApiFuzz::Steps;

# Looks up the code of a step.
#
#   ApiFuzz::Steps::of_name('send')->($fuzz, $link, @arguments);

use strict;
use warnings;
use ApiFuzz::Step;
use ApiFuzz::Steps::Buffers;
use ApiFuzz::Steps::Handle;
use ApiFuzz::Steps::Listen;
use ApiFuzz::Steps::Loop;
use ApiFuzz::Steps::Object;
use ApiFuzz::Steps::Parts;
use ApiFuzz::Steps::Peer;
use ApiFuzz::Steps::Replace;
use ApiFuzz::Steps::Send;
use ApiFuzz::Steps::Surroundings;

sub of_name {
    my ($name) = @_;
    return $STEP{$name} || die "no step '$name'";
}

1;
