/* Rust state that hangs on Perl values. */
#include "glue.h"

static const MGVTBL state_vtbl;

static MAGIC *state_magic(pTHX_ SV *sv)
{
    MAGIC *mg = SvTYPE(sv) < SVt_PVMG ? NULL : SvMAGIC(sv);

    return mg && mg->mg_virtual != &state_vtbl ? mg_findext(sv, PERL_MAGIC_ext, &state_vtbl) : mg;
}

/* Lets go of the handle of a freed connection. If only the object and its magic hold the handle, the handle goes as
 * well, and its watcher is removed now. Otherwise the callback gets a weak reference to the handle, with which it lets
 * the handle read for itself. */
static void leave_handle(pTHX_ HV *handle, SV *callback)
{
    MAGIC *mg;

    if (SvREFCNT((SV *)handle) <= 2) {
        (void)hv_delete(handle, "_rw", 3, G_DISCARD);
    } else if ((mg = state_magic(aTHX_ callback)) && !mg->mg_obj) {
        mg->mg_obj = sv_rvweaken(newRV_inc((SV *)handle));
        mg->mg_flags |= MGf_REFCOUNTED;
    }
}

/* Ext magic ties Rust state to a Perl value: it is freed with the value, and a copy of the value in another thread
 * does not have the state. The mg_obj of an object is its handle; that of a callback whose connection is gone is a weak
 * reference to the handle. */
static int state_free(pTHX_ SV *sv, MAGIC *mg)
{
    struct ws_state state = { mg->mg_private, mg->mg_ptr };
    SV *callback;

    PERL_UNUSED_VAR(sv);
    if (!mg->mg_ptr)
        return 0;
    callback = ws_rust_free(state);
    mg->mg_ptr = NULL;
    if (callback && mg->mg_obj && !PL_dirty)
        leave_handle(aTHX_ (HV *)mg->mg_obj, callback);
    SvREFCNT_dec(callback);
    return 0;
}

#ifdef USE_ITHREADS
static int state_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *params)
{
    PERL_UNUSED_VAR(params);
    mg->mg_ptr = NULL;
    return 0;
}
#else
#  define state_dup NULL
#endif

/* Makes `local` give the new value no state. Without this, perl would copy the magic with its pointer. */
static int state_local(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(sv);
    PERL_UNUSED_VAR(mg);
    return 0;
}

static const MGVTBL state_vtbl = { NULL, NULL, NULL, NULL, state_free, NULL, state_dup, state_local };

static void attach(pTHX_ SV *sv, const MGVTBL *vtbl, struct ws_state state, SV *keeps)
{
    MAGIC *mg = sv_magicext(sv, keeps, PERL_MAGIC_ext, vtbl, state.state, 0);

    mg->mg_private = state.kind;
    mg->mg_flags |= MGf_LOCAL;
#ifdef USE_ITHREADS
    mg->mg_flags |= MGf_DUP;
#endif
}

/* Hangs `state` on `sv`. Unless `keeps` is NULL, it lives at least as long as `sv`. */
void ws_state_attach(PerlInterpreter *perl, SV *sv, struct ws_state state, SV *keeps)
{
    TAKE_THX(perl);

    attach(aTHX_ sv, &state_vtbl, state, keeps);
}

/* Get magic: notifies Rust before Perl code reads a value. */
static int reader_get(pTHX_ SV *sv, MAGIC *mg)
{
    struct ws_state state = { mg->mg_private, mg->mg_ptr };
    const int before = errno;

    PERL_UNUSED_VAR(sv);
    if (mg->mg_ptr)
        ws_rust_before_read(state);
    errno = before;
    return 0;
}

static const MGVTBL reader_vtbl = { reader_get, NULL, NULL, NULL, state_free, NULL, state_dup, state_local };

/* Notifies Rust each time before Perl code reads `sv`. Takes over from another connection, which is notified once more. */
void ws_watch_reads(PerlInterpreter *perl, SV *sv, struct ws_state state)
{
    TAKE_THX(perl);
    MAGIC *mg = SvTYPE(sv) < SVt_PVMG ? NULL : mg_findext(sv, PERL_MAGIC_ext, &reader_vtbl);

    if (mg) {
        (void)reader_get(aTHX_ sv, mg);
        (void)state_free(aTHX_ sv, mg);
        mg->mg_ptr = (char *)state.state;
        mg->mg_private = state.kind;
    } else {
        attach(aTHX_ sv, &reader_vtbl, state, NULL);
    }
}

/* Returns true if ws_watch_reads was called for `sv`, and it has no other magic. */
bool ws_has_watched_reads(SV *sv)
{
    const MAGIC *mg = SvTYPE(sv) < SVt_PVMG ? NULL : SvMAGIC(sv);

    return mg && mg->mg_virtual == &reader_vtbl && !mg->mg_moremagic;
}

/* Returns the state with which ws_watch_reads was called last for `sv`; NULL if that was never done. */
const void *ws_watcher(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);
    const MAGIC *mg = SvTYPE(sv) < SVt_PVMG ? NULL : mg_findext(sv, PERL_MAGIC_ext, &reader_vtbl);

    return mg ? mg->mg_ptr : NULL;
}

/* Returns the handle of a callback whose connection was freed; NULL if the handle is gone too. */
HV *ws_orphaned_handle(PerlInterpreter *perl, SV *callback)
{
    TAKE_THX(perl);
    const MAGIC *mg = state_magic(aTHX_ callback);

    return mg && mg->mg_obj && SvROK(mg->mg_obj) ? (HV *)SvRV(mg->mg_obj) : NULL;
}

/* Returns the state that hangs on `sv`. */
struct ws_state ws_state(PerlInterpreter *perl, SV *sv)
{
    TAKE_THX(perl);
    struct ws_state state = { 0, NULL };
    MAGIC *mg = state_magic(aTHX_ sv);

    if (mg) {
        state.kind = mg->mg_private;
        state.state = mg->mg_ptr;
    }
    return state;
}

/* Returns a reference to an anonymous sub with a state. */
SV *ws_new_bound_sub(PerlInterpreter *perl, const struct ws_xsub *xsub, struct ws_state state)
{
    TAKE_THX(perl);
    CV *sub = newXS(NULL, ws_xs_call, __FILE__);

    CvXSUBANY(sub).any_ptr = (void *)xsub;
    ws_state_attach(perl, (SV *)sub, state, NULL);
    return newRV_noinc((SV *)sub);
}
