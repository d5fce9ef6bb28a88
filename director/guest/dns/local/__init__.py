"""How this machine is: a program of its own beside the resolver (`watch`), so that monit and jobs' scripts never hold up an answer.

* `monit`: what monit says of the processes, and whether they are there;
* `jobs`: the jobs' own scripts, and which groups each job speaks for;
* `watch`: both again and again, a line of JSON for each change;
* `watched`: the resolver's end.

Source: DNS contract, section 4.3; agent contract, sections 4.4 and 4.5.
"""
