"""``moorage demo``: the main job on real programs, with a SIGKILL in the middle, and a proof.

Three processes: the *story* (this command: the screen, and who kills), the *service* (a supervisor
on a journal that runs programs) and the *client* (submits, cancels, follows, and writes down in a
record of its own what was acknowledged to it). At the end the client compares its record with the
log. They talk in JSON lines: over a socket between client and service, over pipes with the story.
A process whose standard input ends leaves, so nothing outlives the story.
"""
