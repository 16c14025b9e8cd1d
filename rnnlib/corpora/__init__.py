"""The short text, written for this course, that stands in when no corpus can be had."""
