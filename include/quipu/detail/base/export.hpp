#pragma once

/// What a library shows to others. All else is hidden: the libraries are compiled with -fvisibility=hidden, and so may
/// programs be. It also stands at types that are thrown, and at variables of headers, of which a process has one each.
#if defined(__GNUC__)
#define QUIPU_EXPORT [[gnu::visibility("default")]]
#else
#define QUIPU_EXPORT
#endif
