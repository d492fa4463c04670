"""POV-Ray's options: every ini key and every switch of 3.7, and what povstorm does with each.

Those of 3.8 are known where it renders (programs/tools.py), and named as its own where it does not.

ini.py reads with these tables. They follow the program's own (3.7.0.10), which are longer than the
POV-Ray 3.7 reference, section 3.2 "Command-Line and INI-File Options".
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal[
    "integer", "number", "on/off", "text",  # read into PovraySettings
    "library", "output", "ini", "declare", "file type", "bits",  # have a meaning of their own
    # Handed to POV-Ray: they change the picture.
    "passed on/off", "passed integer", "passed number", "passed text",
    "ignored",  # windows, consoles, log files, threads, file naming: povstorm's own business
    "program", "refused",
]  # fmt: skip

_KEYS_BY_KIND: dict[Kind, str] = {
    "integer": "Width Height Quality Initial_Frame Final_Frame Frame_Step Antialias_Depth "
    "Sampling_Method",
    "number": "Clock Initial_Clock Final_Clock Subset_Start_Frame Subset_End_Frame "
    "Antialias_Threshold Antialias_Gamma Jitter_Amount",
    "on/off": "Antialias Jitter Cyclic_Animation",
    "text": "Input_File_Name Include_Header",
    "output": "Output_File_Name",
    "library": "Library_Path",
    "ini": "Include_Ini",
    "declare": "Declare",
    "file type": "Output_File_Type",
    "bits": "Bits_Per_Color Bits_Per_Colour",
    "passed on/off": "Bounding Light_Buffer Vista_Buffer Remove_Bounds Split_Unions "
    "High_Reproducibility Output_Alpha Grayscale_Output Dither Radiosity_Vain_Pretrace "
    "Field_Render Odd_Field",
    # The mosaic preview's sizes decide where radiosity takes its samples.
    "passed integer": "Bounding_Method Bounding_Threshold BSP_MaxDepth Preview_Start_Size "
    "Preview_End_Size Render_Block_Size Render_Block_Step Render_Pattern",
    "passed number": "BSP_BaseAccessCost BSP_ChildAccessCost BSP_ISectCost BSP_MissChance Version",
    "passed text": "Dither_Method Display_Gamma File_Gamma",
    "ignored": "All_Console All_File Append_File Buffer_Output Buffer_Size Compression "
    "Continue_Trace Create_Continue_Trace_Log Create_Histogram Create_Ini Debug_Console Debug_File "
    "Display Draw_Vistas Fatal_Console Fatal_File Histogram_Grid_Size Histogram_Name "
    "Histogram_Type Max_Image_Buffer_Memory Output_To_File Palette "
    "Pause_When_Done Render_Console Render_File "
    "Statistic_Console Statistic_File Test_Abort Test_Abort_Count Verbose Video_Mode "
    "Warning_Console Warning_File Warning_Level Work_Threads Pre_Scene_Return Pre_Frame_Return "
    "Post_Scene_Return Post_Frame_Return User_Abort_Return Fatal_Error_Return",
    "program": "Pre_Scene_Command Pre_Frame_Command Post_Scene_Command Post_Frame_Command "
    "User_Abort_Command Fatal_Error_Command",
    # Parts of images, files that outlive a frame, frames that are not parsed one by one.
    "refused": "Start_Row End_Row Start_Column End_Column Radiosity_File_Name Radiosity_From_File "
    "Radiosity_To_File Clockless_Animation Real_Time_Raytracing",
}


# Options that POV-Ray 3.8 has and 3.7 does not (its source/frontend/processrenderoptions.cpp).
NEWER = re.compile(
    r"(Antialias_Confidence|Stochastic_Seed|Greyscale_Output)\s*=|[+-](AC|SS)[\d.]+$|[+-]CC$",
    re.IGNORECASE,
)


class Key(NamedTuple):
    """An ini key: as the reference spells it, and its kind."""

    name: str
    kind: Kind


KEYS: dict[str, Key] = {
    name.casefold(): Key(name, kind)
    for kind, names in _KEYS_BY_KIND.items()
    for name in names.split()
}


NEWER_KEYS: dict[str, Key] = {
    key.name.casefold(): key
    for key in (
        Key("Antialias_Confidence", "passed number"),
        Key("Stochastic_Seed", "passed integer"),
        Key("Greyscale_Output", "passed on/off"),
    )
}
NEWER_SWITCHES = {"AC": "Antialias_Confidence", "SS": "Stochastic_Seed"}


class Switch(NamedTuple):
    """A switch: its letters, the key that its sign sets, and the key that its value sets.

    With both, the value may be left out; with a sign key alone there is none; with a value key
    alone there must be one, and + and - mean the same.
    """

    letters: str
    sign_key: str
    value_key: str


# Of two where one begins the other, the longer stands first: they are tried in this order.
SWITCHES: tuple[Switch, ...] = tuple(
    Switch(letters, "" if sign == "." else sign, "" if value == "." else value)
    for letters, sign, value in (
        line.split()
        for line in """
        AG   .                        Antialias_Gamma
        AM   .                        Sampling_Method
        A    Antialias                Antialias_Threshold
        BM   .                        Bounding_Method
        BS   .                        Render_Block_Size
        B    Bounding                 .
        C    Continue_Trace           .
        D    Display                  Video_Mode
        EC   .                        End_Column
        EF0  .                        Subset_End_Frame
        EF   .                        Subset_End_Frame
        EP   .                        Preview_End_Size
        ER   .                        End_Row
        F    Output_To_File           +F
        GA   All_Console              All_File
        GD   Debug_Console            Debug_File
        GF   Fatal_Console            Fatal_File
        GI   .                        Create_Ini
        GP   Append_File              .
        GR   Render_Console           Render_File
        GS   Statistic_Console        Statistic_File
        GW   Warning_Console          Warning_File
        HI   .                        Include_Header
        HR   High_Reproducibility     .
        H    .                        Height
        I    .                        Input_File_Name
        J    Jitter                   Jitter_Amount
        KC   Cyclic_Animation         .
        KFF  .                        Final_Frame
        KFI  .                        Initial_Frame
        KF   .                        Final_Clock
        KI   .                        Initial_Clock
        KLA  Clockless_Animation      .
        K    .                        Clock
        L    .                        Library_Path
        MB   Bounding                 Bounding_Threshold
        MI   .                        Max_Image_Buffer_Memory
        MV   .                        Version
        O    .                        Output_File_Name
        P    Pause_When_Done          .
        Q    .                        Quality
        RFI  Radiosity_From_File      .
        RFO  Radiosity_To_File        .
        RF   .                        Radiosity_File_Name
        RP   .                        Render_Pattern
        RS   .                        Render_Block_Step
        RTR  Real_Time_Raytracing     .
        RVP  Radiosity_Vain_Pretrace  .
        R    .                        Antialias_Depth
        SC   .                        Start_Column
        SF0  .                        Subset_Start_Frame
        SF   .                        Subset_Start_Frame
        SP   .                        Preview_Start_Size
        SR   .                        Start_Row
        STP  .                        Frame_Step
        SU   Split_Unions             .
        TH   Dither                   Dither_Method
        UA   Output_Alpha             .
        UD   Draw_Vistas              .
        UF   Field_Render             .
        UL   Light_Buffer             .
        UO   Odd_Field                .
        UR   Remove_Bounds            .
        UV   Vista_Buffer             .
        V    Verbose                  .
        WL   .                        Warning_Level
        WT   .                        Work_Threads
        W    .                        Width
        X    Test_Abort               Test_Abort_Count
        """.strip().splitlines()
    )
)
