"""From objects as they came in to files of the store and rows of the database; when a study is complete.

Nothing is imported here: the child that examines files needs none of what files them.
"""
