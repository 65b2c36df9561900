#pragma once

// What sanitizers cannot do.

#ifdef __has_feature
#define QUIPU_HAS_FEATURE(feature) __has_feature(feature)
#else
#define QUIPU_HAS_FEATURE(feature) 0
#endif

/// The address sanitizer keeps freed memory for a while.
#if defined(__SANITIZE_ADDRESS__) || QUIPU_HAS_FEATURE(address_sanitizer)
inline constexpr bool is_address_sanitized = true;
#else
inline constexpr bool is_address_sanitized = false;
#endif

/// The thread sanitizer stops a forked child that starts a thread while its parent had several.
#if defined(__SANITIZE_THREAD__) || QUIPU_HAS_FEATURE(thread_sanitizer)
inline constexpr bool is_thread_sanitized = true;
#else
inline constexpr bool is_thread_sanitized = false;
#endif

/// Both keep memory of their own.
inline constexpr bool is_sanitized = is_address_sanitized || is_thread_sanitized;
