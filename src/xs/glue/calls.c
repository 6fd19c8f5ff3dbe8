/* Every call that may run Perl code, and every croak.
 *
 * Perl's longjmp never skips a Rust frame, because none is on the stack while Perl code runs. An XSUB is a
 * trampoline: it asks Rust what to do (struct ws_after), and does it after Rust has returned. A loop calls the
 * callbacks, and asks Rust for each (struct ws_call). */
#include "glue.h"

/* Returns the sub of this name, or NULL. Looking the name up each time takes ten times as long. The name's glob is kept, not
 * the sub, because a program may replace that. */
static SV *sub_named(pTHX_ const char *name)
{
    SV **kept = hv_fetch(PL_modglobal, name, strlen(name), 1);
    GV *gv;

    if (!kept)
        return NULL;
    if (SvTYPE(*kept) != SVt_PVGV) {
        gv = gv_fetchpv(name, 0, SVt_PVCV);
        if (!gv || SvTYPE(gv) != SVt_PVGV)
            return NULL;
        SvREFCNT_dec(*kept);
        *kept = SvREFCNT_inc_simple_NN((SV *)gv);
    }
    return (SV *)GvCV((GV *)*kept);
}

/* Calls a sub by its name; perl reports one that does not exist. */
static void call_named(pTHX_ const char *name, I32 flags)
{
    SV *sub = sub_named(aTHX_ name);

    if (sub)
        call_sv(sub, flags);
    else
        call_pv(name, flags);
}

/* Uses a separate stack, so that a callback cannot leave this frame with `last` or `next`. */
static void call_sub(pTHX_ const struct ws_sub_call *call, I32 flags)
{
    dSP;
    int i;

    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    EXTEND(SP, WS_MAX_ARGS);
    for (i = 0; i < WS_MAX_ARGS && call->args[i]; i++)
        PUSHs(call->args[i]);
    PUTBACK;
    if (call->name)
        call_named(aTHX_ call->name, flags | G_VOID | G_DISCARD);
    else
        call_sv(call->sub, flags | G_VOID | G_DISCARD);
    FREETMPS;
    LEAVE;
    POPSTACK;
}

/* Makes all values that Rust handed over mortal, because the actions that follow may not return. */
static void adopt(pTHX_ struct ws_after *after)
{
    int i, j;

    if (after->returns) sv_2mortal(after->returns);
    if (after->croak) sv_2mortal(after->croak);
    for (i = 0; i < after->calls; i++)
        for (j = 0; j < WS_MAX_ARGS && after->call[i].args[j]; j++)
            sv_2mortal(after->call[i].args[j]);
}

static bool has_exception(pTHX)
{
    SV *error = ERRSV;

    return SvROK(error) || (SvPOK(error) && SvCUR(error));
}

/* Gives each callback its own $_: its changes must not reach the next callback, or the code that runs the event
 * loop. */
static inline void renew_topic(pTHX)
{
    SV *topic = GvSV(PL_defgv);

    if (topic && SvTYPE(topic) == SVt_NULL && SvREFCNT(topic) <= 2)
        return;
    GvSV(PL_defgv) = newSV(0);
    SvREFCNT_dec(topic);
}

/* Returns `connection`, a reference to `object`; or another one, if a callback has overwritten it through its $_[0]. */
static inline SV *intact(pTHX_ SV *connection, SV *object)
{
    return SvROK(connection) && SvRV(connection) == object ? connection : sv_2mortal(newRV_inc(object));
}

static inline void make_call(pTHX_ const struct ws_call *call, SV *object, SV *connection, I32 flags)
{
    dSP;
    const SSize_t depth = SP - PL_stack_base;
    int i;

    for (i = 0; i < WS_MAX_ARGS && call->owned[i]; i++)
        sv_2mortal(call->owned[i]);
    if (!call->sub && !call->name)
        return;
    renew_topic(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, 1 + WS_MAX_ARGS);
    if (call->kind != WS_BEGIN_BURST)
        PUSHs(intact(aTHX_ connection, object));
    for (i = 0; i < call->count; i++)
        PUSHs(call->args[i]);
    PUTBACK;
    if (call->kind == WS_METHOD)
        call_method(call->name, flags | G_VOID);
    else if (call->kind == WS_PERL_SUB)
        call_named(aTHX_ call->name, flags | G_VOID);
    else
        call_sv(call->sub, flags | G_VOID);
    /* G_DISCARD is not needed: the caller frees temporary values, and resetting the stack drops the results. */
    PL_stack_sp = PL_stack_base + depth;
}

/* Calls callbacks until Rust has no more. The values of a call are freed only after Rust has been told of its end. */
XS_EXTERNAL(ws_xs_dispatch)
{
    dXSARGS;
    const void *connection = items == 1 && SvROK(ST(0)) ? ws_rust_connection(ws_state(THX, SvRV(ST(0)))) : NULL;
    SV *reference;
    SV *object;
    struct ws_call call;

    if (!connection)
        croak("not an AnyEvent::WebSocket::Connection");
    reference = ST(0);
    object = SvRV(reference);
    Zero(&call, 1, struct ws_call);
    ENTER;
    SAVETMPS;
    while (ws_rust_next_call(connection, PL_curstackinfo, &call)) {
        FREETMPS;
        make_call(aTHX_ &call, object, reference, 0);
    }
    FREETMPS;
    LEAVE;
    XSRETURN_EMPTY;
}

/* Returns an anonymous sub that is the dispatch loop: no program can call it. */
CV *ws_new_dispatch_loop(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return newXS(NULL, ws_xs_dispatch, __FILE__);
}

/* Lets a callback leave with `next` or `last`: AnyEvent::Handle's callbacks can, because it calls them in a loop. Returns true
 * if that is how the callback left. */
static bool forgive_loop_exit(pTHX)
{
    static const char with_next[] = "Can't \"next\" outside a loop block";
    static const char with_last[] = "Can't \"last\" outside a loop block";
    const char *text = SvPOK(ERRSV) ? SvPVX(ERRSV) : "";

    if (!strnEQ(text, with_next, sizeof with_next - 1) && !strnEQ(text, with_last, sizeof with_last - 1))
        return FALSE;
    sv_setpvs(ERRSV, "");
    return TRUE;
}

/* Calls callbacks, each in an eval of its own, up to the first that dies. In a burst a single eval surrounds all
 * calls that are left, because an eval per call is slow; so the loop in it has to be a sub. */
static void call_all(pTHX_ const struct ws_after *after, SV *connection)
{
    SV *object = after->dispatch;
    struct ws_call call;
    bool is_burst = FALSE;

    Zero(&call, 1, struct ws_call);
    while (!is_burst && ws_rust_next_call(after->connection, PL_curstackinfo, &call)) {
        FREETMPS;
        make_call(aTHX_ &call, object, connection, G_EVAL);
        if (has_exception(aTHX) && !forgive_loop_exit(aTHX))
            return;
        is_burst = call.kind == WS_BEGIN_BURST;
    }
    if (is_burst) {
        do {
            dSP;

            PUSHMARK(SP);
            XPUSHs(intact(aTHX_ connection, object));
            PUTBACK;
            call_sv((SV *)after->dispatch_loop, G_VOID | G_DISCARD | G_EVAL);
        } while (has_exception(aTHX) && forgive_loop_exit(aTHX));
    }
}

/* Returns `kept` for reuse, or a new value if something else still holds it or it cannot be changed. */
static SV *reuse_or_new(pTHX_ SV *kept)
{
    return SvREFCNT(kept) > 1 || SvREADONLY(kept) ? newSV(0) : SvREFCNT_inc_simple_NN(kept);
}

/* Localizes the glob's scalar and returns its GP, to be passed to release(). Leaving the scope writes to the GP even if a
 * callback has replaced the glob (`*_ = \*other`). */
static GP *localize(pTHX_ GV *gv, SV *value)
{
    GP *gp = gp_ref(GvGP(gv));

    SAVEGENERICSV(GvSV(gv));
    GvSV(gv) = value;
    return gp;
}

/* Gives up the reference count of localize() before the scope is left, which `exit` does. Returns false, and leaks the
 * memory of the glob, if a callback has replaced it. */
static bool release_early(GV *gv, GP *gp)
{
    if (GvGP(gv) != gp)
        return FALSE;
    gp->gp_refcnt--;
    return TRUE;
}

/* Gives up the reference count of localize() after the scope was left. */
static void release(pTHX_ GV *gv, GP *gp)
{
    GP *now = GvGP(gv);

    if (release_early(gv, gp))
        return;
    GvGP_set(gv, gp);
    gp_free(gv);
    GvGP_set(gv, now);
}

/* Makes a call. Returns the exception with which it died, mortal; or NULL. */
static SV *call_sub_safely(pTHX_ const struct ws_sub_call *call)
{
    SV *exception;
    GP *error_gp;

    ENTER;
    error_gp = localize(aTHX_ PL_errgv, newSVpvs(""));
    call_sub(aTHX_ call, G_EVAL);
    exception = has_exception(aTHX) ? newSVsv(ERRSV) : NULL;
    LEAVE;
    release(aTHX_ PL_errgv, error_gp);
    return exception ? sv_2mortal(exception) : NULL;
}

/* Makes the calls that Rust asked for, each even if one before it died; then continues an exit or dies. */
static void carry_out(pTHX_ struct ws_after *after)
{
    SV *exception = NULL;
    int i;

    adopt(aTHX_ after);
    for (i = 0; i + 1 < after->calls; i++) {
        SV *thrown = call_sub_safely(aTHX_ &after->call[i]);

        exception = exception ? exception : thrown;
    }
    if (after->calls && !exception)
        call_sub(aTHX_ &after->call[i], 0);
    else if (after->calls)
        (void)call_sub_safely(aTHX_ &after->call[i]);
    if (after->exiting)
        JMPENV_JUMP(2);
    if (exception)
        croak_sv(exception);
    if (after->croak)
        croak_sv(after->croak);
}

/* Makes the call that comes before destructors, which may run the event loop. */
static void call_first(pTHX_ const struct ws_sub_call *call)
{
    int i;

    if (!call->name && !call->sub)
        return;
    for (i = 0; i < WS_MAX_ARGS && call->args[i]; i++)
        sv_2mortal(call->args[i]);
    call_sub(aTHX_ call, G_EVAL | G_KEEPERR);
}

/* Replaces the value kept for $_ if a callback has put something there, which must not be kept with it. */
static void renew_kept_topic(pTHX_ SV **kept)
{
    SV *topic = *kept;

    if (SvTYPE(topic) == SVt_NULL && !SvREADONLY(topic))
        return;
    *kept = newSV(0);
    sv_2mortal(topic);
}

/* Runs the dispatch loop with local $@ and $_, and with a separate stack, so that a callback cannot leave it with
 * `last` or `next`. An exit in a callback is delayed until the trampoline has done its work. */
static void dispatch(pTHX_ struct ws_after *after)
{
    dSP;
    dXCPT;
    SV *object = after->dispatch;
    GP *error_gp;
    GP *topic_gp;
    SV *connection;
    SV *exception;

    ENTER;
    connection = sv_2mortal(newRV_inc(object));
    SAVETMPS;
    error_gp = localize(aTHX_ PL_errgv, reuse_or_new(aTHX_ after->error));
    topic_gp = localize(aTHX_ PL_defgv, reuse_or_new(aTHX_ *after->topic));
    PUSHSTACKi(PERLSI_MAGIC);
    PUTBACK;
    XCPT_TRY_START {
        call_all(aTHX_ after, connection);
    } XCPT_TRY_END
    exception = !rEtV && has_exception(aTHX) ? newSVsv(ERRSV) : NULL;
    /* The value is kept, and must not keep what a callback has put there. */
    if (has_exception(aTHX) && !SvREADONLY(ERRSV))
        sv_setpvs(ERRSV, "");
    ws_rust_dispatched(after->connection, exception, rEtV != 0, after);
    call_first(aTHX_ &after->first);
    if (!rEtV) {
        POPSTACK;
        FREETMPS;
        LEAVE;
        release(aTHX_ PL_errgv, error_gp);
        release(aTHX_ PL_defgv, topic_gp);
    } else {
        (void)release_early(PL_errgv, error_gp);
        (void)release_early(PL_defgv, topic_gp);
    }
    renew_kept_topic(aTHX_ after->topic);
    sv_2mortal(object);
}

/* Replaces tied and otherwise magical arguments by copies of their values, because Rust only reads plain ones. */
static void fetch_magical(pTHX_ SV **args, I32 items)
{
    I32 i;

    for (i = 0; i < items; i++)
        if (SvGMAGICAL(args[i]))
            args[i] = sv_mortalcopy(args[i]);
}

/* The trampoline of all XSUBs. CvXSUBANY points to the sub's row in the table of XSUBs. */
XS_EXTERNAL(ws_xs_call)
{
    dXSARGS;
    const struct ws_xsub *xsub = (const struct ws_xsub *)CvXSUBANY(cv).any_ptr;
    struct ws_after after;

    after.dispatch = after.returns = after.croak = NULL;
    after.needs_fetch = after.exiting = FALSE;
    after.first.name = NULL;
    after.first.sub = NULL;
    after.calls = 0;
    xsub->body(THX, cv, &ST(0), items, &after);
    if (after.needs_fetch) {
        after.needs_fetch = FALSE;
        fetch_magical(aTHX_ &ST(0), items);
        xsub->body(THX, cv, &ST(0), items, &after);
    }
    if (after.dispatch)
        dispatch(aTHX_ &after);
    if (after.calls || after.croak || after.exiting)
        carry_out(aTHX_ &after);
    else if (after.returns)
        sv_2mortal(after.returns);
    if (!after.returns)
        XSRETURN_EMPTY;
    if (items < 1)
        EXTEND(SP, 1);
    ST(0) = after.returns;
    XSRETURN(1);
}

/* Returns true unless the XSUB is called in void context. */
bool ws_wants_value(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return GIMME_V != G_VOID;
}

/* Returns `text at FILE line N.`, with perl's current place. */
SV *ws_located(PerlInterpreter *perl, const char *text, STRLEN len)
{
    TAKE_THX(perl);

    return newSVsv(mess_sv(newSVpvn_flags(text, len, SVs_TEMP), TRUE));
}

/* Installs the XSUBs; called when XSLoader loads the library. The handshake lets perl refuse a library that was
 * built for another perl. */
void ws_boot(PerlInterpreter *perl, CV *cv)
{
    TAKE_THX(perl);
    dXSBOOTARGSAPIVERCHK;
    const struct ws_xsub *const *table;
    const struct ws_xsub *xsub;

    PERL_UNUSED_VAR(items);
    for (table = ws_rust_tables; *table; table++)
        for (xsub = *table; xsub->name; xsub++)
            CvXSUBANY(newXS(xsub->name, ws_xs_call, "src/xs/xsubs")).any_ptr = (void *)xsub;
    Perl_xs_boot_epilog(aTHX_ ax);
}
