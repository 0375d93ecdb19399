"""Chest CT from DICOM to an honestly evaluated classifier; see ARCHITECTURE.md for the rooms."""
