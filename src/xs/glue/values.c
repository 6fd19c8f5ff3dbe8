/* Perl values: wrappers for what some version of perl offers only as macros or inline functions. Nothing here runs
 * Perl code. */
#include "glue.h"

SV *ws_new_undef(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return newSV(0);
}

SV *ws_new_string(PerlInterpreter *perl, const char *start, STRLEN len)
{
    TAKE_THX(perl);

    return newSVpvn(start, len);
}

SV *ws_new_number(PerlInterpreter *perl, unsigned long long number)
{
    TAKE_THX(perl);

    return number <= UV_MAX ? newSVuv((UV)number) : newSVnv((NV)number);
}

SV *ws_new_reference(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);

    return newRV_inc(sv);
}

SV *ws_new_copy(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);

    return newSVsv(sv);
}

/* Returns a reference to a new array of values, whose reference counts it takes over. */
SV *ws_new_array(PerlInterpreter *perl, SV *const *values, STRLEN count)
{
    TAKE_THX(perl);
    AV *array = newAV();
    STRLEN i;

    for (i = 0; i < count; i++)
        av_push(array, values[i]);
    return newRV_noinc((SV *)array);
}

/* Returns a reference to a new, empty hash, blessed into `class`. */
SV *ws_new_object(PerlInterpreter *perl, HV *class)
{
    TAKE_THX(perl);

    return sv_bless(newRV_noinc((SV *)newHV()), class);
}

/* Returns a string that takes over memory from perl's allocator: `len` bytes, a NUL, and room up to `capacity`. */
SV *ws_new_string_in(PerlInterpreter *perl, char *start, STRLEN len, STRLEN capacity)
{
    TAKE_THX(perl);
    SV *sv = newSV(0);

    sv_usepvn_flags(sv, start, len, SV_HAS_TRAILING_NUL);
    SvLEN_set(sv, capacity);
    return sv;
}

/* Frees a value once no Rust frame is left. */
void ws_free_later(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);

    sv_2mortal(sv);
}

/* perl's allocator. */
void *ws_realloc(void *start, STRLEN size)
{
    return saferealloc(start, (MEM_SIZE)size);
}

void ws_free(void *start)
{
    Safefree(start);
}

void ws_set_string(PerlInterpreter *perl, SV *sv, const char *start, STRLEN len)
{
    TAKE_THX(perl);

    sv_setpvn(sv, start, len);
}

/* Removes bytes from the start of a string from ws_reserve. */
void ws_chop(PerlInterpreter *perl, SV *sv, STRLEN count)
{
    TAKE_THX(perl);

    sv_chop(sv, SvPVX(sv) + count);
}

/* Removes the first element of an array, and returns it with its reference count. */
SV *ws_shift(PerlInterpreter *perl, AV *array)
{
    TAKE_THX(perl);

    return av_shift(array);
}

/* Returns a class, which is created if needed. */
HV *ws_class(PerlInterpreter *perl, const char *name)
{
    TAKE_THX(perl);

    return gv_stashpv(name, GV_ADD);
}

CV *ws_sub(PerlInterpreter *perl, const char *name)
{
    TAKE_THX(perl);

    return get_cv(name, 0);
}

/* Returns perl's shared copy of a hash key, and keeps it forever. */
HEK *ws_shared_key(PerlInterpreter *perl, const char *name, I32 len)
{
    TAKE_THX(perl);

    return SvSHARED_HEK_FROM_PV(SvPVX(newSVpvn_share(name, len, 0)));
}

/* Stores a value in a new hash, and takes over its reference count. */
void ws_store(PerlInterpreter *perl, HV *hash, const char *key, I32 len, U32 hashed, SV *value)
{
    TAKE_THX(perl);

    (void)hv_store(hash, key, len, value, hashed);
}

/* Returns true if native code may change this scalar in place: it is a string, a number or undef, is not read-only,
 * and has only magic that perl itself puts on strings. */
static bool is_changeable(const SV *sv)
{
    const MAGIC *mg;

    if (SvTYPE(sv) > SVt_PVMG || SvROK(sv) || SvREADONLY(sv))
        return FALSE;
    if (!SvMAGICAL(sv))
        return TRUE;
    for (mg = SvMAGIC(sv); mg; mg = mg->mg_moremagic)
        if (mg->mg_type != PERL_MAGIC_taint && mg->mg_type != PERL_MAGIC_regex_global && mg->mg_type != PERL_MAGIC_utf8)
            return FALSE;
    return TRUE;
}

/* Makes room to append to a string of bytes, and unshares its memory. Returns NULL if the scalar is not a string of
 * bytes or must not be changed. */
char *ws_reserve(PerlInterpreter *perl, SV *sv, STRLEN extra)
{
    TAKE_THX(perl);

    if (!is_changeable(sv))
        return NULL;
    if (SvIsCOW(sv))
        sv_force_normal_flags(sv, 0);
    if (!SvOK(sv))
        sv_setpvs(sv, "");
    else if (!SvPOK(sv))
        (void)sv_pvn_force_flags(sv, NULL, 0);
    if (SvUTF8(sv)) {
        const bool was_tainted = cBOOL(TAINT_get);
        const bool is_octets = sv_utf8_downgrade(sv, TRUE);

        TAINT_set(was_tainted); /* reading a tainted string taints the rest of the Perl statement */
        if (!is_octets)
            return NULL;
    }
    (void)SvPOK_only(sv);
    return SvGROW(sv, SvCUR(sv) + extra + 1);
}

/* Sets the length of a string from ws_reserve. Its set magic only makes perl forget what it has cached about the
 * string. */
void ws_set_length(PerlInterpreter *perl, SV *sv, STRLEN len)
{
    TAKE_THX(perl);

    SvCUR_set(sv, len);
    *SvEND(sv) = '\0';
    SvSETMAGIC(sv);
}

/* Empties a string, and leaves other values alone. It frees memory beyond `keep` bytes, and leaves memory shared with a copy to
 * the copy. */
void ws_empty(PerlInterpreter *perl, SV *sv, STRLEN keep)
{
    TAKE_THX(perl);

    if (!SvPOK(sv) || !is_changeable(sv))
        return;
    if (SvIsCOW(sv)) {
        sv_force_normal_flags(sv, SV_COW_DROP_PV);
        sv_setpvs(sv, "");
    } else if (SvLEN(sv) > keep) {
        SvOOK_off(sv);
        SvPV_free(sv);
        SvPV_set(sv, NULL);
        SvLEN_set(sv, 0);
        (void)SvGROW(sv, 16);
    }
    ws_set_length(perl, sv, 0);
}

/* Returns the value in a slot, which is created if needed and `is_lvalue`; NULL if there is none. A locked hash has
 * only its existing slots and a tied one none, so that perl neither dies nor calls a method. */
SV *ws_fetch(PerlInterpreter *perl, HV *hash, const char *key, I32 len, U32 hashed, bool is_lvalue)
{
    TAKE_THX(perl);
    SV **slot;

    if (SvRMAGICAL((SV *)hash) && mg_find((SV *)hash, PERL_MAGIC_tied))
        return NULL;
    if (SvREADONLY((SV *)hash) && !hv_exists(hash, key, len))
        return NULL;
    slot = (SV **)hv_common_key_len(hash, key, len, HV_FETCH_JUST_SV | (is_lvalue ? HV_FETCH_LVALUE : 0), NULL, hashed);
    return slot ? *slot : NULL;
}

static void set_number(pTHX_ SV *sv, NV number)
{
    const U32 looked_at = SVf_IOK | SVp_IOK | SVf_NOK | SVp_NOK | SVf_POK | SVp_POK | SVf_THINKFIRST | SVs_GMG | SVs_SMG;

    if ((SvFLAGS(sv) & looked_at) == (SVf_NOK | SVp_NOK)) /* as the last call left it */
        SvNV_set(sv, number);
    else if (is_changeable(sv))
        sv_setnv(sv, number);
}

/* Stores a time in slots of a handle; NULL for a slot that does not exist. Skips a slot that the program has made
 * read-only. */
void ws_set_times(PerlInterpreter *perl, SV *first, SV *second, double seconds)
{
    TAKE_THX(perl);

    if (first)
        set_number(aTHX_ first, (NV)seconds);
    if (second)
        set_number(aTHX_ second, (NV)seconds);
}

/* Returns true under perl -T. */
bool ws_is_tainting(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return cBOOL(TAINTING_get);
}

/* Marks a new value as coming from outside. */
void ws_taint(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);

    SvTAINTED_on(sv);
}

/* Takes the memory of a plain string that has no other owner, and makes it undef. */
char *ws_take_buffer(SV *sv, STRLEN *capacity)
{
    char *buffer = SvPVX(sv);

    *capacity = SvLEN(sv);
    SvPV_set(sv, NULL);
    SvLEN_set(sv, 0);
    SvCUR_set(sv, 0);
    (void)SvOK_off(sv);
    return buffer;
}

