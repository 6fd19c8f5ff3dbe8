/* Makes an archive that has nothing anybody asks for; see hide_libperl in build.rs. */
const char ws_no_libperl = 0;
