"""How the C library hands out memory where large arrays come and go: freed blocks are used again."""

import ctypes

# From malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30  # bytes


def reuse_freed_memory() -> bool:
    """Keep freed blocks of up to 1 GiB in the heap of this process; whether the system has such a setting (glibc).

    By default a large array is mapped anew, page by page, each time it is made. On a virtual machine that took a
    seventh of a training step and as much of a corpus build. `pretrain.callbacks.ReleaseMemory` hands back now and
    then what is left over.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    return option is not None and all(option(name, _LARGEST) == 1 for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def release_memory() -> None:
    """Hand freed memory back to the system, on systems that can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
