/* Classes of objects, and their methods. */
#include "glue.h"

/* Returns a number that changes whenever a method may have changed: in any class, in a parent of this one, or in
 * this one. */
static inline U32 class_generation(pTHX_ HV *class)
{
    struct mro_meta *meta = HvMROMETA(class);

    return PL_sub_generation + meta->cache_gen + meta->pkg_gen;
}

U32 ws_class_generation(PerlInterpreter *perl, HV *class)
{
    TAKE_THX(perl);

    return class_generation(aTHX_ class);
}

/* The same for the name of a class; 0 if there is none. */
U32 ws_generation_of(PerlInterpreter *perl, const char *name)
{
    TAKE_THX(perl);
    HV *class = gv_stashpv(name, 0);

    return class ? class_generation(aTHX_ class) : 0;
}

/* Returns true if the object is of this class, and the class still has this generation. */
bool ws_is_of_class(PerlInterpreter *perl, HV *object, HV *class, U32 generation)
{
    TAKE_THX(perl);

    return SvOBJECT((SV *)object) && SvSTASH((SV *)object) == class
        && class_generation(aTHX_ class) == generation;
}

/* Returns true if the class's method of this name is Perl code of `package`, from a file whose path ends with `file`. */
bool ws_is_defined_in(PerlInterpreter *perl, HV *class, const char *name, const char *package, const char *file)
{
    TAKE_THX(perl);
    GV *gv = gv_fetchmeth_pv(class, name, 0, 0);
    const CV *cv = gv ? GvCV(gv) : NULL;
    const char *stash = cv && !CvISXSUB(cv) && CvSTASH(cv) ? HvNAME_get(CvSTASH(cv)) : NULL;
    const char *path = stash && strEQ(stash, package) ? CvFILE(cv) : NULL;
    const STRLEN path_len = path ? strlen(path) : 0;
    const STRLEN file_len = strlen(file);

    return path && path_len >= file_len && strEQ(path + path_len - file_len, file);
}

/* Returns true if the package's sub of this name is Perl code of its own, from a file whose path ends with `file`. */
bool ws_has_sub(PerlInterpreter *perl, const char *package, const char *name, const char *file)
{
    TAKE_THX(perl);
    HV *stash = gv_stashpv(package, 0);

    return stash && ws_is_defined_in(perl, stash, name, package, file);
}

bool ws_has_destructor(PerlInterpreter *perl, HV *class)
{
    TAKE_THX(perl);

    return gv_fetchmeth_pvn(class, "DESTROY", 7, 0, 0) != NULL;
}

/* Returns true if AnyEvent::Handle has destroyed the handle. */
bool ws_is_destroyed(PerlInterpreter *perl, HV *handle)
{
    TAKE_THX(perl);
    const char *name = SvOBJECT((SV *)handle) ? HvNAME_get(SvSTASH((SV *)handle)) : NULL;

    return name && strEQ(name, "AnyEvent::Handle::destroyed");
}

/* Returns true if a method of the object is this XSUB. */
bool ws_has_xsub(PerlInterpreter *perl, HV *object, const char *method, const struct ws_xsub *xsub)
{
    TAKE_THX(perl);
    const GV *gv = gv_fetchmethod(SvSTASH((SV *)object), method);
    const CV *cv = gv ? GvCV(gv) : NULL;

    return cv && CvISXSUB(cv) && CvXSUB(cv) == ws_xs_call && CvXSUBANY(cv).any_ptr == (void *)xsub;
}
