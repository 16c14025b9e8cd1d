"""What was written for this course and stands in when no corpus can be had, and the ids of reviews."""
