"""The filter of system calls that POV-Ray runs under in the sandbox: a program for seccomp(2).

sandbox.py hands it to bubblewrap. POV-Ray computes, reads and writes files and starts threads; who
has taken it over would go on by what the kernel offers beyond that. Numbers are those of the
kernel's unistd.h for each machine; the layout is that of linux/seccomp.h and linux/filter.h.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

# Name → number on x86_64, and on aarch64, None where that has no such call.
REFUSED: dict[str, tuple[int, int | None]] = {
    # Other views of the machine: mounts, namespaces, roots.
    "chroot": (161, 51),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "listmount": (458, 458),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "pivot_root": (155, 41),
    "setns": (308, 268),
    "statmount": (457, 457),
    "umount2": (166, 39),
    "unshare": (272, 97),
    # The kernel and its settings, and what few have looked at.
    "acct": (163, 89),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    "nfsservctl": (180, 42),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "settimeofday": (164, 170),
    "splice": (275, 76),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "tee": (276, 77),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
    # Keys, and other processes.
    "add_key": (248, 217),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    # Processes; threads are clone(2)'s, which is looked at.
    "fork": (57, None),
    "vfork": (58, None),
    # Memory that no limit counts.
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "remap_file_pages": (216, 234),
    "semget": (64, 190),
    "set_mempolicy": (238, 237),
    "shmat": (30, 196),
    "shmget": (29, 194),
    # The network, and channels out of the frame.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # Files that are none.
    "link": (86, None),
    "linkat": (265, 37),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "symlink": (88, None),
    "symlinkat": (266, 36),
}
_CLONE_THREAD = 0x00010000
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_CLONE_NEW = 0x7E020000
# MAP_SHARED with MAP_ANONYMOUS: memory that is no process's own, so that RLIMIT_DATA leaves it out.
_SHARED_MEMORY = 0x21

# Instructions: their code, and how far to jump if true and if not.
_INSTRUCTION = struct.Struct("<HBBI")
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
# Of struct seccomp_data: the call's number, the machine, the low half of argument n.
_NUMBER, _MACHINE, _ARGUMENTS, _ARGUMENT_BYTES = 0, 4, 16, 8
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
# From here on numbers are those of the x32 ABI, by which filters were got around.
_X32 = 0x40000000


@dataclass(frozen=True)
class _Machine:
    audit: int
    clone: int
    clone3: int
    mmap: int
    column: int


# AUDIT_ARCH_* of linux/audit.h.
_MACHINES = {
    "x86_64": _Machine(0xC000003E, clone=56, clone3=435, mmap=9, column=0),
    "aarch64": _Machine(0xC00000B7, clone=220, clone3=435, mmap=222, column=1),
}


def filter_program(machine: str | None = None) -> bytes:
    """The program, for bubblewrap's ``--seccomp``; b"" for a machine whose numbers are not here.

    What is refused gets EPERM; clone3(2), whose arguments cannot be seen, gets ENOSYS, upon which
    the C library takes clone(2), of which only threads are allowed. machine: as of uname(1), by
    default this one.
    """
    here = _MACHINES.get(machine or platform.machine())
    if here is None:
        return b""
    refused = sorted(
        number for numbers in REFUSED.values() if (number := numbers[here.column]) is not None
    )
    permission = _ERROR | errno.EPERM
    lines = [
        *_load(_MACHINE),
        *_unless(_IF_EQUAL, here.audit, _KILL),
        *_load(_NUMBER),
        *_if(_IF_AT_LEAST, _X32, _ERROR | errno.ENOSYS),
        *_if(_IF_EQUAL, here.clone3, _ERROR | errno.ENOSYS),
    ]
    for number in refused:
        lines += _if(_IF_EQUAL, number, permission)
    is_thread = [
        *_load(_ARGUMENTS),
        *_if(_IF_ANY, _CLONE_NEW, permission),
        *_unless(_IF_ANY, _CLONE_THREAD, permission),
        (_RETURN, 0, 0, _ALLOW),
    ]
    is_own_memory = [
        *_load(_ARGUMENTS + 3 * _ARGUMENT_BYTES),
        (_AND, 0, 0, _SHARED_MEMORY),
        *_if(_IF_EQUAL, _SHARED_MEMORY, permission),
    ]
    lines += [
        (_IF_EQUAL, 0, len(is_thread), here.clone),
        *is_thread,
        (_IF_EQUAL, 0, len(is_own_memory), here.mmap),
        *is_own_memory,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(_INSTRUCTION.pack(*line) for line in lines)


_Line = tuple[int, int, int, int]


def _load(offset: int) -> list[_Line]:
    return [(_LOAD, 0, 0, offset)]


def _if(test: int, value: int, answer: int) -> list[_Line]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, answer)]


def _unless(test: int, value: int, answer: int) -> list[_Line]:
    return [(test, 1, 0, value), (_RETURN, 0, 0, answer)]
