"""What becomes of each of POV-Ray 3.7's options: it is here once, with a value that would show.

tests/unit/povstorm_client/scene/test_ini_options.py holds povstorm to it,
tests/integration/test_fidelity.py POV-Ray.
"""

# Kept under its own name; a setting, or the way to the scene and its files.
READ = """Width=9 Height=9 Quality=5 Initial_Frame=2 Final_Frame=9 Frame_Step=2 Antialias_Depth=2
Sampling_Method=2 Clock=2 Initial_Clock=2 Final_Clock=2 Subset_Start_Frame=2 Subset_End_Frame=2
Antialias_Threshold=0.2 Antialias_Gamma=2 Jitter_Amount=0.2 Antialias=on Jitter=off
Cyclic_Animation=on Input_File_Name=a.pov Include_Header=a.inc Library_Path=a"""

# To POV-Ray, as it is.
HANDED_ON = """Declare=Q=2 Bits_Per_Color=16 Bits_Per_Colour=16 Bounding=off Light_Buffer=off
Vista_Buffer=off Remove_Bounds=off Split_Unions=on High_Reproducibility=on Output_Alpha=on
Grayscale_Output=on Dither=on Dither_Method=FS Radiosity_Vain_Pretrace=off Field_Render=on
Odd_Field=on Bounding_Method=2 Bounding_Threshold=9 BSP_BaseAccessCost=1 BSP_ChildAccessCost=1
BSP_ISectCost=1 BSP_MaxDepth=9 BSP_MissChance=0.1 Display_Gamma=2.2 File_Gamma=sRGB Version=3.5
Preview_Start_Size=16 Preview_End_Size=4 Render_Block_Size=16 Render_Block_Step=3
Render_Pattern=2"""

# With the reason.
REFUSED = """Start_Row=2 End_Row=2 Start_Column=2 End_Column=2 Radiosity_File_Name=a
Radiosity_From_File=on Radiosity_To_File=on Clockless_Animation=on Real_Time_Raytracing=on
Pre_Scene_Command=x Pre_Frame_Command=x Post_Scene_Command=x Post_Frame_Command=x
User_Abort_Command=x Fatal_Error_Command=x"""

# Followed; answered by a warning.
FOLLOWED, TOLD = "Include_Ini=a.ini", "Output_File_Type=T"

# Not handed on: POV-Ray's pixels are the same with them.
WITHOUT_EFFECT = """All_Console=off All_File=all.txt Append_File=on Compression=0
Continue_Trace=on Create_Ini=told.ini Debug_Console=off
Debug_File=debug.txt Display=off Draw_Vistas=on Fatal_Console=off Fatal_File=fatal.txt
Max_Image_Buffer_Memory=1 Output_File_Name=out/frame_.png Output_To_File=on Palette=g
Pause_When_Done=off Render_Console=off Render_File=render.txt Statistic_Console=off
Statistic_File=statistic.txt Test_Abort=on Test_Abort_Count=3 Verbose=off Video_Mode=1
Warning_Console=off Warning_File=warning.txt Warning_Level=0 Work_Threads=2 Pre_Scene_Return=S
Pre_Frame_Return=S Post_Scene_Return=S Post_Frame_Return=S User_Abort_Return=S
Fatal_Error_Return=S"""

# POV-Ray 3.7.0.10 ends with an error, or says that they are no longer used.
OBSOLETE = """Buffer_Output=on Buffer_Size=9 Create_Histogram=on Histogram_Grid_Size=2.2
Histogram_Name=h Histogram_Type=C Create_Continue_Trace_Log=on"""
