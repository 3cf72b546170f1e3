"""Does a real transformer on a real device do what the model says?"""
