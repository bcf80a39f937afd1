"""Picture files, from the disk to 8-bit pixels.

`finding` lists them and tells what it left out, `names` compares their names, `file_list` keeps many of them
in little memory. `opening` opens one, turned upright, `depths` brings its samples to 8 bits, `reading` does
all of it. `headers` and `checking` name those that are broken, `content` knows them by their bytes,
`download` fetches new ones.
"""
