/* What the C files share, with each other and with Rust. Rust passes the interpreter as a plain pointer, whether or not this
 * perl has more than one.
 */
#ifndef WS_GLUE_H
#define WS_GLUE_H

#define PERL_NO_GET_CONTEXT
#define NO_XSLOCKS                    /* gives the XCPT_ macros */
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#ifdef MULTIPLICITY
#  define THX my_perl
#  define TAKE_THX(thx) PerlInterpreter *my_perl = (thx); PERL_UNUSED_VAR(my_perl)
#else
#  define THX NULL
#  define TAKE_THX(thx) PERL_UNUSED_VAR(thx)
#endif

#define WS_MAX_CALLS 8
#define WS_MAX_ARGS 3

/* What the dispatch loop calls next. The same struct stands in dispatch.rs. */
struct ws_call {
    SV *sub;                      /* NULL for a method */
    const char *method;           /* NULL, too: nothing is called */
    SV *args[WS_MAX_ARGS];        /* behind the connection */
    int count;
    bool has_message;             /* the first of what is owned is a message */
    bool are_many;                /* more than one frame is to be dispatched */
    SV *owned[WS_MAX_ARGS];       /* freed after the call */
};

struct ws_sub_call {
    const char *sub;              /* full name of a Perl sub, in the shim */
    SV *args[WS_MAX_ARGS];        /* owned; NULL after the last */
};

/* What hangs on a Perl value. The same struct stands in connection.rs, which knows the kinds; 0 is nothing. */
struct ws_state {
    U16 kind;
    void *state;                  /* NULL: it has gone, or is another thread's */
};

/* What an XSUB does after Rust has returned. The same struct stands in after.rs. */
struct ws_after {
    SV *dispatch;                 /* owned; the object whose connection has something to dispatch, or NULL */
    const void *connection;       /* what hangs on it */
    CV *dispatch_loop;
    SV *error;                    /* to be $@ while it does; not owned */
    SV *topic;                    /* to be $_ */
    SV *returns;                  /* owned; NULL: nothing */
    SV *croak;                    /* owned; NULL: no */
    int needs_fetch;              /* fetch the arguments, and ask again; nothing has been done */
    int exiting;                  /* a callback called exit: go on with it */
    int calls;
    struct ws_sub_call call[WS_MAX_CALLS];
};

/* An XSUB: what the trampoline calls, and the full name of the Perl sub. The table stands in xsubs.rs. */
struct ws_xsub {
    void (*body)(void *thx, CV *cv, SV **args, I32 items, struct ws_after *after);
    const char *name;             /* NULL after the last, and for the hook, which has none */
};

XS_EXTERNAL(ws_xs_call);

struct ws_state ws_state(void *thx, SV *sv);
void ws_state_attach(void *thx, SV *sv, struct ws_state state, SV *keeps);

#endif
