"""What POV-Ray prints is read as it prints it: times, counts, and its words for a failure."""

from __future__ import annotations

from render_image import povray_output

LOG = """povray: cannot open the user configuration file /x/.povray/3.7/povray.conf: No such file
Information Output Options
  Warning Stream to console.......On
==== [Parsing...] ==========================================================
----------------------------------------------------------------------------
  Parse Time:       0 hours  0 minutes  1 seconds (1.234 seconds)
              using 1 thread(s) with 0.000 CPU-seconds total
  Bounding Time:    0 hours  0 minutes  0 seconds (0.005 seconds)
==== [Rendering...] ========================================================
Rendered 1024 of 19200 pixels (5%)\rRendered 19200 of 19200 pixels (100%)
Pixels:            20440   Samples:           37791   Smpls/Pxl: 1.85
Rays:              93763   Saved:                 0   Max Level: 5/5
  Photon Time:      No photons
  Radiosity Time:   0 hours  0 minutes  2 seconds (2.500 seconds)
  Trace Time:       0 hours  1 minutes  0 seconds (60.103 seconds)
POV-Ray finished
"""


def test_phases_are_read_and_those_that_did_not_run_are_zero():
    assert povray_output.phase_seconds(LOG) == {
        "parse": 1.234,
        "bounding": 0.005,
        "photon": 0.0,
        "radiosity": 2.5,
        "trace": 60.103,
    }


def test_counts_are_read_and_missing_ones_are_none():
    assert povray_output.ray_counts(LOG) == {"pixels": 20440, "rays": 93763, "samples": 37791}
    assert povray_output.ray_counts("") == {"pixels": None, "rays": None, "samples": None}


def test_the_failure_is_the_parse_error_rather_than_what_surrounds_it():
    log = """povray: cannot open the user configuration file /x/povray.conf: No such file
File 'a.pov' line 1: Possible Parse Error: Cannot find file 'nix.inc', even
 after trying to append file type extension.
File 'a.pov' line 1: Parse Error: Cannot open include file nix.inc, which is a
 long name.
Fatal error in parser: Cannot parse input.
Render failed
"""
    expected = (
        "File 'a.pov' line 1: Parse Error: Cannot open include file nix.inc, which is a long name."
    )
    assert povray_output.failure_line(log) == expected


def test_a_failure_without_words_is_empty():
    assert povray_output.failure_line(LOG) == ""


def test_the_tail_leaves_out_banner_and_progress():
    tail = povray_output.tail(LOG)
    assert tail.startswith("==== [Parsing...]")
    assert tail.endswith("POV-Ray finished")
    assert "Rendered 1024" not in tail


def test_what_people_read_has_neither_credits_nor_progress():
    log = "Copyright 1991-2013\n\nParser Options\n  Input file: a.pov\n" + LOG
    readable = povray_output.readable(log)
    assert readable.startswith("Parser Options\n  Input file: a.pov")
    assert "Trace Time" in readable
    assert "Rendered 1024" not in readable


def test_the_tail_has_the_parse_error_even_if_it_was_written_before_its_heading():
    error = "File 'a.pov' line 3: Parse Error: Cannot open include file nowhere.inc."
    heading = "==== [Parsing...] ====="
    end = "Fatal error in parser: Cannot parse input.\nRender failed"

    for log in (f"{heading}\n{error}\n{end}", f"options\n{error}\n{heading}\n{end}"):
        assert error in povray_output.tail(log)
        assert "options" not in povray_output.tail(log)


def test_a_configuration_file_that_is_not_there_is_no_failure():
    log = """povray: POVINI environment: cannot open /x/povray.ini: No such file or directory
povray: cannot open the system configuration file /y/povray.conf: No such file or directory
povray: cannot open the user configuration file /z/povray.conf: No such file or directory
"""
    assert povray_output.failure_line(log) == ""
    told = "File 'a.pov' line 7: Parse Error: Cannot open include file configuration file."
    assert povray_output.failure_line(log + told + "\n") == told
