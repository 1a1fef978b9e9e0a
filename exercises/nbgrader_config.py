"""The course for nbgrader: masters/ gives student/; docs/exercises.md explains the commands."""

c = get_config()  # noqa: F821 (nbgrader defines it)
c.CourseDirectory.course_id = "dcgmm"
c.CourseDirectory.source_directory = "masters"
c.CourseDirectory.release_directory = "student"
c.ClearSolutions.code_stub = {"python": '# YOUR CODE HERE\nraise NotImplementedError("This task is still empty.")'}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
# Training needs more than nbgrader's half a minute where the machine is busy.
c.Execute.timeout = 600
