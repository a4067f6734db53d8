"""UserIP: user profiles inferred offline, served online as a few small integers.

The rooms are the folders at the top of the repository; the links beside this file make them one package.
"""
