#!/usr/bin/env perl
# Takes a screenshot of a page: a client of Chromium's DevTools protocol, which is JSON over a WebSocket.
#
#   perl examples/devtools-screenshot.pl [--chromium PROGRAM] [--size WIDTHxHEIGHT] [--timeout SECONDS] URL FILE.png [OPTION...]
#   perl examples/devtools-screenshot.pl https://www.example.com/ example.png
#
# Options for Chromium come after the name of the file. As root, and in many containers, it needs --no-sandbox. The defaults are
# chromium, 1280x800 and 30.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::Util qw(run_cmd);
use AnyEvent::WebSocket::Client;
use File::Temp;
use Getopt::Long qw(GetOptionsFromArray :config require_order);
use MIME::Base64 qw(decode_base64);

my %option = (chromium => 'chromium', size => '1280x800', timeout => 30);
GetOptionsFromArray(\@ARGV, \%option, qw(chromium=s size=s timeout=f)) && @ARGV >= 2 && $option{size} =~ /^(\d+)x(\d+)$/
    or die "usage: $0 [--chromium PROGRAM] [--size WIDTHxHEIGHT] [--timeout SECONDS] URL FILE.png [OPTION...]\n";
my ($width, $height) = $option{size} =~ /(\d+)/g;
my ($url, $file, @chromium_options) = @ARGV;

# --- waiting

# Condvars of what is awaited, by name. If anything fails, all of them die.
my (%awaited, $failure);

sub awaited {
    my ($name) = @_;
    my $condvar = $awaited{$name} ||= AE::cv;
    $condvar->croak($failure) if defined $failure;
    return $condvar;
}

sub arrived {
    my ($name, $value) = @_;
    my $condvar = delete $awaited{$name} or return;
    $condvar->send($value);
}

sub fail {
    my ($why) = @_;
    $failure //= "$why\n";
    $_->croak($failure) for values %awaited;
}

my $timer = AE::timer $option{timeout}, 0, sub { fail("not done within $option{timeout} s") };
my @signals = map { AE::signal $_ => sub { fail('interrupted') } } qw(INT TERM);

# --- Chromium

# Starts Chromium on a free port. Returns the address on which it takes commands, which it prints to STDERR.
my ($chromium_pid, $chromium_ended);
my $profile = File::Temp->newdir;

sub start_chromium {
    my $printed = '';
    $chromium_ended = run_cmd(
        [$option{chromium}, qw(--headless --remote-debugging-port=0 --no-first-run), "--user-data-dir=$profile",
            @chromium_options],
        '$$' => \$chromium_pid,
        '<' => '/dev/null',
        '>' => '/dev/null',
        '2>' => sub {
            $printed .= $_[0] // return;
            arrived(address => $1) if $printed =~ m{^DevTools listening on (ws://\S+)$}m;
        },
    );
    $chromium_ended->cb(sub {
        my $status = $_[0]->recv >> 8;
        fail(join "\n", "$option{chromium} has ended with status $status", $printed || ());
    });
    return awaited('address')->recv;
}

# --- the protocol

my ($connection, $session);
my $last_id = 0;

sub connect_to {
    my ($address) = @_;
    # A screenshot comes as one frame, which may be much larger than the default of 64 KiB.
    my $client = AnyEvent::WebSocket::Client->new(max_payload_size => 256 << 20, handshake_timeout => $option{timeout});
    $connection = $client->connect($address)->recv;
    $connection->on(each_message => sub { receive($_[1]->decoded_json) });
    $connection->on(parse_error => sub { fail("Chromium sent what is not allowed: $_[1]") });
    $connection->on(finish => sub { fail('the connection has ended: ' . ($_[1] // 'Chromium has closed it')) });
}

# A message either answers a command, or reports an event.
sub receive {
    my ($message) = @_;
    return arrived($message->{method}, $message->{params}) if !$message->{id};
    arrived("command $message->{id}", $message);
}

# Sends a command, and returns its result.
sub command {
    my ($method, %parameters) = @_;
    my $id = ++$last_id;
    $connection->send_json({ id => $id, method => $method, params => \%parameters, $session ? (sessionId => $session) : () });
    my $answer = awaited("command $id")->recv;
    die "$method: $answer->{error}{message}\n" if $answer->{error};
    return $answer->{result};
}

sub take_screenshot {
    connect_to(start_chromium());
    my $target = command('Target.createTarget', url => 'about:blank')->{targetId};
    $session = command('Target.attachToTarget', targetId => $target, flatten => \1)->{sessionId};
    command('Page.enable');
    command('Emulation.setDeviceMetricsOverride', width => 0 + $width, height => 0 + $height, deviceScaleFactor => 1,
        mobile => \0);
    my $loaded = awaited('Page.loadEventFired');    # from now on, as it may come before the answer to the next command
    my $error = command('Page.navigate', url => $url)->{errorText};
    die "$url: $error\n" if $error;
    $loaded->recv;
    return decode_base64(command('Page.captureScreenshot', format => 'png')->{data});
}

sub write_file {
    my ($octets) = @_;
    open my $output, '>:raw', $file or die "$file: $!\n";
    print {$output} $octets;
    close $output or die "$file: $!\n";
    printf "%s: %d bytes\n", $file, length $octets;
}

my $error = eval { write_file(take_screenshot()); 1 } ? undef : $failure // $@;

# Chromium must have ended before the directory of its profile is removed.
kill TERM => $chromium_pid if !$chromium_ended->ready;
$chromium_ended->recv;
die $error if defined $error;
