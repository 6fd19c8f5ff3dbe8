/* The header of all C files. Rust passes the interpreter whether or not this perl has more than one. */
#ifndef WS_GLUE_H
#define WS_GLUE_H

#define PERL_NO_GET_CONTEXT
#define NO_XSLOCKS                    /* gives the XCPT_ macros */
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#ifdef MULTIPLICITY
#  define THX my_perl
#  define TAKE_THX(perl) PerlInterpreter *my_perl = (perl); PERL_UNUSED_VAR(my_perl)
#else
#  define THX NULL
#  define TAKE_THX(perl) PERL_UNUSED_VAR(perl)
#endif

#include "interface.h"

XS_EXTERNAL(ws_xs_call);

#endif
