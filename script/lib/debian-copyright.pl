# Prints the copyright file of the Debian package. The library contains the code of some crates, whose licences it names
# as cargo knows them.
use 5.022;
use strict;
use warnings;

my $cargo = $ENV{CARGO} || 'cargo';
my @vendor = -d 'vendor'
    ? ('--config', 'source.crates-io.replace-with="here"', '--config', 'source.here.directory="vendor"')
    : ();

sub output {
    my (@command) = @_;
    open my $from, '-|', @command or die "$command[0]: $!\n";
    my $output = do { local $/; <$from> };
    close $from or die "@command[0, 1] failed\n";
    return $output;
}

# The crates compiled into the library, without build scripts and what only they or the compiler load: NAME VERSION =>
# licence.
my %license_of = map { /^(\S+) v(\S+)[^|]*\|(.*)/ ? ("$1 $2" => $3) : () } split /\n/, output(
    $cargo, qw(tree --offline --locked --features xs --prefix none --edges), 'normal,no-proc-macro',
    '--format', '{p}|{l}', @vendor
);
delete $license_of{$_} for grep { /^anyevent-websocket / } keys %license_of;

my $year = (gmtime($ENV{SOURCE_DATE_EPOCH} || time))[5] + 1900;

print <<"TEXT";
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: AnyEvent-WebSocket-Native

Files: *
Copyright: $year, the AnyEvent-WebSocket-Native contributors
License: Artistic or GPL-1+

TEXT

# Prints a stanza for each crate. "A/B" is how licences were once separated.
for my $crate (sort keys %license_of) {
    my ($name, $version) = split / /, $crate;
    my $license = short_names($license_of{$crate} =~ s{\s*/\s*}{ OR }gr);
    print <<"TEXT";
Files: crate/$name-$version/*
Copyright: The authors of the crate $name
License: $license
Comment: Compiled into the library.

TEXT
}

print <<'TEXT';
Files: rust-standard-library/*
Copyright: The Rust Project Developers
License: MIT or Apache-2.0
Comment: Compiled into the library.

License: Artistic
 This program is free software; you can redistribute it and/or modify it under
 the terms of the Artistic License, which comes with perl. On Debian systems,
 its complete text is in /usr/share/common-licenses/Artistic.

License: GPL-1+
 This program is free software; you can redistribute it and/or modify it under
 the terms of the GNU General Public License as published by the Free Software
 Foundation; either version 1, or (at your option) any later version. On Debian
 systems, the complete text of version 1 is in
 /usr/share/common-licenses/GPL-1.

License: Apache-2.0
 On Debian systems, the complete text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

License: MIT
 Permission is hereby granted, free of charge, to any person obtaining a copy of
 this software and associated documentation files (the "Software"), to deal in
 the Software without restriction, including without limitation the rights to
 use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
 of the Software, and to permit persons to whom the Software is furnished to do
 so, subject to the following conditions:
 .
 The above copyright notice and this permission notice shall be included in all
 copies or substantial portions of the Software.
 .
 THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
 FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
 IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
 CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

License: Zlib
 This software is provided 'as-is', without any express or implied warranty. In
 no event will the authors be held liable for any damages arising from the use of
 this software.
 .
 Permission is granted to anyone to use this software for any purpose, including
 commercial applications, and to alter it and redistribute it freely, subject to
 the following restrictions:
 .
 1. The origin of this software must not be misrepresented; you must not claim
 that you wrote the original software. If you use this software in a product, an
 acknowledgment in the product documentation would be appreciated but is not
 required.
 .
 2. Altered source versions must be plainly marked as such, and must not be
 misrepresented as being the original software.
 .
 3. This notice may not be removed or altered from any source distribution.
TEXT

# Returns Debian's words for SPDX's names. Dies if the text of a licence is not above.
sub short_names {
    my ($expression) = @_;
    my %known = (
        'MIT' => 'MIT', 'Apache-2.0' => 'Apache-2.0', 'Zlib' => 'Zlib',
        'GPL-1.0-or-later' => 'GPL-1+', 'Artistic-1.0-Perl' => 'Artistic',
    );
    my @names = map { $known{$_} // die "the text of the licence $_ is missing here\n" } split / OR | AND /, $expression =~ tr/()//dr;
    return join $expression =~ / AND / ? ' and ' : ' or ', @names;
}
