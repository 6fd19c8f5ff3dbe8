use strict;
use warnings;

use Test::More;

# Tests the symbols that the built library takes from perl. A perl that does not export all of them cannot load the library,
# and an exported function in one version of perl is a macro or an inline function in the next.
use Config;
use Cwd qw(abs_path);
use File::Basename qw(dirname);

my $root    = dirname(dirname(abs_path(__FILE__)));
my $library = "$root/blib/arch/auto/AnyEvent/WebSocket/Native/Native.$Config{dlext}";

sub output_of {
    my (@command) = @_;
    open my $pipe, '-|', @command or die "$command[0]: $!";
    my @lines = <$pipe>;
    close $pipe or die "@command: " . ($! || "status $?");
    return @lines;
}

# Returns the names in a table of dynamic symbols, without a version behind the name.
sub symbols {
    my ($file, $which) = @_;
    return map { /(\w+)(?:\@\S*)?$/ ? $1 : () } output_of(qw(nm -D), "--$which-only", $file);
}

# Returns the files of perl: the executable and, if it uses one, the shared libperl.
sub perl_files {
    return $^X if $Config{useshrplib} ne 'true';
    return $^X, map { m{\blibperl\S* => (/\S+)} } output_of('ldd', $^X);
}

my @wanted  = sort grep { /^(?:Perl|PL_|perl_|boot_)/ } symbols($library, 'undefined');
my @listed  = map { /(\w+)/ } grep { !/^#/ } <DATA>;
my %allowed = map { $_ => 1 } @listed;
my %has     = map { $_ => 1 } map { symbols($_, 'defined') } perl_files();

cmp_ok(scalar @wanted, '>', 30, 'the library takes symbols from perl');
is_deeply([grep { !$allowed{$_} } @wanted], [], 'each of them is in the list below');
is_deeply([sort keys %allowed], \@listed, 'which is sorted, and names each once');
is_deeply([grep { !$has{$_} } @wanted], [], "and perl $Config{version}, $^X, exports them");
is_deeply([grep { /NEEDED.*libperl/ } output_of('readelf', '-d', $library)], [], 'the library does not need libperl');

done_testing;
__DATA__
PL_body_roots
PL_curstack
PL_curstackinfo
PL_defgv
PL_delaymagic
PL_errgv
PL_markstack_max
PL_markstack_ptr
PL_op
PL_phase
PL_stack_base
PL_stack_max
PL_stack_sp
PL_statusvalue
PL_sub_generation
PL_sv_count
PL_sv_root
PL_tainted
PL_tainting
PL_tmps_floor
PL_tmps_ix
PL_top_env
Perl_PerlIO_fileno
Perl_av_push
Perl_av_shift
Perl_av_store
Perl_block_gimme
Perl_call_method
Perl_call_pv
Perl_call_sv
Perl_croak
Perl_croak_nocontext
Perl_croak_popstack
Perl_croak_sv
Perl_free_tmps
Perl_get_cv
Perl_gp_free
Perl_gp_ref
Perl_gv_add_by_type
Perl_gv_fetchmeth_pv
Perl_gv_fetchmeth_pvn
Perl_gv_fetchmethod_autoload
Perl_gv_fetchpv
Perl_gv_stashpv
Perl_hv_common
Perl_hv_common_key_len
Perl_markstack_grow
Perl_mess_sv
Perl_mg_find
Perl_mg_findext
Perl_mg_set
Perl_more_bodies
Perl_more_sv
Perl_mro_meta_init
Perl_newRV
Perl_newRV_noinc
Perl_newSV
Perl_newSV_type
Perl_newSVpvn
Perl_newSVpvn_flags
Perl_newSVpvn_share
Perl_newSVsv
Perl_newSVsv_flags
Perl_newSVsv_flags_NN
Perl_newSVuv
Perl_newXS
Perl_new_stackinfo
Perl_new_stackinfo_flags
Perl_pop_scope
Perl_push_scope
Perl_safesysfree
Perl_safesysrealloc
Perl_save_generic_svref
Perl_save_strlen
Perl_savetmps
Perl_stack_grow
Perl_sv_2mortal
Perl_sv_backoff
Perl_sv_bless
Perl_sv_chop
Perl_sv_force_normal_flags
Perl_sv_free2
Perl_sv_grow
Perl_sv_magic
Perl_sv_magicext
Perl_sv_mortalcopy_flags
Perl_sv_pvn_force_flags
Perl_sv_rvweaken
Perl_sv_setnv
Perl_sv_setpvn
Perl_sv_setsv_flags
Perl_sv_usepvn_flags
Perl_sv_utf8_downgrade
Perl_sv_utf8_downgrade_flags
Perl_xs_boot_epilog
Perl_xs_handshake
