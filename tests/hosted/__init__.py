"""Tests of hosted streams as the library offers them, without HTTP."""
